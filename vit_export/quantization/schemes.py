"""Schemes: how the weight and the input of one linear layer are quantized.

Each scheme is simulated in PyTorch with the rounding of a runtime (fake quantization), so that a
choice between schemes needs no export.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from vit_export.quantization.observer import ActivationStats
from vit_export.quantization.weights import round_to_nearest

Activations = Literal["float", "batch", "token", "static"]

UINT8_MAX = 255
INT8_MAX = 127
SMALLEST = 1e-30
"""Smallest divisor: ranges and magnitudes below it are raised to it."""
BLOCK = 32
"""Number of inputs that share a scale in 4-bit weights."""


class QuantParams(NamedTuple):
    """Scale and zero point of a static range."""

    scale: float
    zero_point: int | None
    """In uint8; None for a symmetric range in int8."""


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """One way of quantizing a linear layer."""

    name: str
    bits: int
    """Bits of a weight."""
    block: int | None = None
    """Number of inputs that share a scale of the weight; None: one scale per output channel."""
    activations: Activations
    """How inputs are quantized.

    `float`: not at all. `batch`: one run-time range for all rows. `token`: each row is divided by
    its largest magnitude at run time; the quotients have a static range. `static`: one range from
    calibration."""
    zero_point: bool = False
    """Whether a static range may be asymmetric; TensorRT supports symmetric ranges only."""
    outlier_scheme: str | None = None
    """Name of the scheme with the same weights and a range per token, for outlier tokens."""

    @property
    def limits_pairs(self) -> bool:
        """Whether pairs of weights keep `PAIR_LIMIT`: they meet activations in 8 bits."""
        return self.activations != "float"

    def fake_quantize_weight(self, weight: Tensor) -> Tensor:
        """`weight` (N, K), rounded to the nearest step and dequantized."""
        numbers = weight.detach().numpy()
        rounded = round_to_nearest(numbers, self.bits, self.block, pairs=self.limits_pairs)
        return torch.from_numpy(rounded.dequantize())

    def fake_quantize_input(self, x: Tensor, params: QuantParams | None) -> Tensor:
        """The rows `x` (M, K), quantized and dequantized; `params` come from `choose_params`."""
        if self.activations == "float":
            return x
        params = params or compute_params(x, x, zero_point=True)
        if self.activations == "token":
            magnitudes = find_row_magnitudes(x)
            return _fake_quantize(x / magnitudes, params) * magnitudes
        return _fake_quantize(x, params)

    def choose_params(self, stats: ActivationStats) -> QuantParams | None:
        """Scale and zero point for the graph; None if they are computed at run time."""
        if self.activations == "static":
            return compute_params(stats.low, stats.high, zero_point=self.zero_point)
        if self.activations == "token":
            quotients = stats.rows / find_row_magnitudes(stats.rows)
            return compute_params(quotients, torch.ones(()), zero_point=self.zero_point)
        return None


SCHEMES = {
    scheme.name: scheme
    for scheme in (
        Scheme(name="int8", bits=8, activations="batch", outlier_scheme="int8-token-zero-point"),
        Scheme(name="int8-token", bits=8, activations="token"),
        Scheme(name="int8-token-zero-point", bits=8, activations="token", zero_point=True),
        Scheme(name="int8-static", bits=8, activations="static", outlier_scheme="int8-token"),
        Scheme(
            name="int8-static-zero-point",
            bits=8,
            activations="static",
            zero_point=True,
            outlier_scheme="int8-token-zero-point",
        ),
        Scheme(name="weights-int8", bits=8, activations="float"),
        Scheme(name="weights-int4", bits=4, block=BLOCK, activations="float"),
    )
}


def find_row_magnitudes(x: Tensor) -> Tensor:
    """The largest magnitude of each row of `x` (M, K), (M, 1)."""
    return x.abs().amax(dim=1, keepdim=True).clamp(min=SMALLEST)


def _fake_quantize(x: Tensor, params: QuantParams) -> Tensor:
    scale, zero = params
    smallest, largest = (-INT8_MAX - 1, INT8_MAX) if zero is None else (0, UINT8_MAX)
    integers = ((x / scale).round() + (zero or 0)).clamp(smallest, largest)
    dequantized: Tensor = (integers - (zero or 0)) * scale
    return dequantized


def compute_params(low: Tensor, high: Tensor, *, zero_point: bool) -> QuantParams:
    """Scale and zero point for numbers from the smallest of `low` to the largest of `high`.

    The range contains zero, as in DynamicQuantizeLinear, and is never empty. It clips nothing: the
    largest activations of a ViT carry meaning, and clipping them cost 10 dB and more on a trained
    DINOv2.
    """
    smallest, largest = min(float(low.min()), 0.0), max(float(high.max()), 0.0)
    if not zero_point:
        return QuantParams(max(-smallest, largest, SMALLEST) / INT8_MAX, None)
    scale = max(largest - smallest, SMALLEST) / UINT8_MAX
    return QuantParams(scale, round(-smallest / scale))
