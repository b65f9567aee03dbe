"""How one layer can be quantized: its weights, and what goes in.

Each scheme can also be played in PyTorch, number by number as a runtime rounds, so that a choice
between schemes costs no export.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vit_export.quantization.observer import Observed
from vit_export.quantization.weights import round_plainly

Activations = Literal["float", "batch", "token", "static"]

Range = tuple[float, int | None]
"""Scale and zero point; None where the range is symmetric."""

UINT8_LARGEST = 255
INT8_LARGEST = 127
SMALLEST = 1e-30
BLOCK = 32
"""Inputs that share a scale where weights alone are quantized."""


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """One way of quantizing a linear layer."""

    name: str
    bits: int
    """Of a weight."""
    block: int | None = None
    """Inputs that share a scale; None: one scale for each output channel."""
    activations: Activations
    """`batch`: one run-time range of all that goes in. `token`: each row is divided by its largest
    magnitude at run time, and has a static range then. `static`: one range from calibration."""
    zero_point: bool = False
    """Whether a static range may lie unevenly about zero; TensorRT takes none of these."""
    finer: str | None = None
    """The scheme that is the same but for a range of each token, where there is one."""

    def restored_weight(self, weight: Tensor) -> Tensor:
        """`weight` (N, K) after a way there and back, plainly rounded."""
        rounded = round_plainly(weight.detach().numpy(), self.bits, self.block)
        return torch.from_numpy(rounded.restored())

    def restored_input(self, x: Tensor, told: Range | None) -> Tensor:
        """The rows `x` (M, K) after a way there and back; `told` is what `range_of` said."""
        if self.activations == "float":
            return x
        told = told or range_of(x, x, zero_point=True)
        if self.activations == "token":
            size = sizes_of(x)
            return _restored(x / size, told) * size
        return _restored(x, told)

    def range_of(self, seen: Observed) -> Range | None:
        """The range that stands in the graph; None where it is found at run time."""
        if self.activations == "static":
            return range_of(seen.low, seen.high, zero_point=self.zero_point)
        if self.activations == "token":
            units = seen.rows / sizes_of(seen.rows)
            return range_of(units, torch.ones(()), zero_point=self.zero_point)
        return None


SCHEMES = {
    scheme.name: scheme
    for scheme in (
        Scheme(name="int8", bits=8, activations="batch", finer="int8-token-zero-point"),
        Scheme(name="int8-token", bits=8, activations="token"),
        Scheme(name="int8-token-zero-point", bits=8, activations="token", zero_point=True),
        Scheme(name="int8-static", bits=8, activations="static", finer="int8-token"),
        Scheme(
            name="int8-static-zero-point",
            bits=8,
            activations="static",
            zero_point=True,
            finer="int8-token-zero-point",
        ),
        Scheme(name="weights-int8", bits=8, activations="float"),
        Scheme(name="weights-int4", bits=4, block=BLOCK, activations="float"),
    )
}


def sizes_of(x: Tensor) -> Tensor:
    """The largest magnitude of each row, (M, 1)."""
    return x.abs().amax(dim=1, keepdim=True).clamp(min=SMALLEST)


def _restored(x: Tensor, told: Range) -> Tensor:
    scale, zero = told
    least, most = (-INT8_LARGEST - 1, INT8_LARGEST) if zero is None else (0, UINT8_LARGEST)
    rounded = ((x / scale).round() + (zero or 0)).clamp(least, most)
    restored: Tensor = (rounded - (zero or 0)) * scale
    return restored


def range_of(low: Tensor, high: Tensor, *, zero_point: bool) -> Range:
    """Scale and zero point for numbers from the least to the greatest.

    The range always holds zero, as DynamicQuantizeLinear's does, and is never empty. It ends at the
    greatest number seen, not earlier: the largest activations of a ViT carry meaning, and clipping
    them cost 10 dB and more on a trained DINOv2.
    """
    least, most = min(float(low.min()), 0.0), max(float(high.max()), 0.0)
    if not zero_point:
        return max(-least, most, SMALLEST) / INT8_LARGEST, None
    scale = max(most - least, SMALLEST) / UINT8_LARGEST
    return scale, round(-least / scale)
