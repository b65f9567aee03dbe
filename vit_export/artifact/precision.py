"""The values of --precision, the options that apply to them, and the checks of a request."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from vit_export.artifact.budget import Budget
from vit_export.core.errors import RequestError, did_you_mean

Scales = Literal["batch", "token"]
Part = Literal["patches", "head", "attention"]
PARTS: tuple[Part, ...] = ("patches", "head", "attention")
"""Values of --include: parts of a model that are quantized on request only."""
BLOCKWISE_OPSET = 21
"""The first opset whose DequantizeLinear supports blockwise scales and int4."""
MIN_SHARE = 0.5
"""Minimum share of a file's multiply-adds that have to be in the requested precision."""


@dataclass(frozen=True, kw_only=True)
class Precision:
    """One value of --precision."""

    name: str
    arithmetic: str = "fp32"
    """Arithmetic of most multiply-adds, as `graph.cost` names it; empty if any will do."""
    refusals: Mapping[str, str] = field(default_factory=dict)
    """The reason why a flavour (`--for`) does not support this precision, by flavour."""


FP16_ON_ONNXRUNTIME = (
    "its CPU provider computes fp16 in fp32, and casts on top: no faster than fp32"
)
FP16_ON_OPENVINO = "on a CPU it computes fp16 in fp32: no faster than fp32"
NO_DYNAMIC_SCALES = "TensorRT's parser does not support DynamicQuantizeLinear"
SLOW_DYNAMIC_SCALES = "it runs DynamicQuantizeLinear slower than fp32; int8-static is faster"
NO_ZERO_POINTS = "TensorRT's parser supports no zero points, which scales for each token need"
TIMED_ELSEWHERE = "it times layers in ONNX Runtime, and what is fast there may be slow elsewhere"

NO_BF16 = "its CPU provider has no bf16 arithmetic, so the file could not be opened for the proof"

PRECISIONS = {
    precision.name: precision
    for precision in (
        Precision(name="fp32"),
        Precision(
            name="fp16",
            arithmetic="fp16",
            refusals={"onnxruntime": FP16_ON_ONNXRUNTIME, "openvino": FP16_ON_OPENVINO},
        ),
        Precision(
            name="bf16",
            arithmetic="bf16",
            refusals=dict.fromkeys(("portable", "onnxruntime", "openvino"), NO_BF16),
        ),
        Precision(
            name="int8",
            arithmetic="int8",
            refusals={"tensorrt": NO_DYNAMIC_SCALES, "openvino": SLOW_DYNAMIC_SCALES},
        ),
        Precision(name="int8-static", arithmetic="int8"),
        Precision(name="weights-int8", arithmetic="fp32 x int8"),
        Precision(name="weights-int4", arithmetic="fp32 x int4"),
        Precision(
            name="auto",
            arithmetic="",
            refusals={"tensorrt": TIMED_ELSEWHERE, "openvino": TIMED_ELSEWHERE},
        ),
    )
}
QUANTIZED = {"int8", "int8-static", "weights-int8", "weights-int4", "auto"}
UNQUANTIZED = frozenset(PRECISIONS) - QUANTIZED
OPTION_PRECISIONS: Mapping[str, set[str]] = {
    "calibration": QUANTIZED,
    "include": QUANTIZED,
    "scales": {"int8"},
    "io_fp16": {"fp16"},
    "min_snr": {"auto"},
    "min_top1": {"auto"},
    "plot": {"auto"},
    "plan": {"auto"},
}
"""The precisions that each optional field of `QuantizationRequest` applies to."""


@dataclass(frozen=True)
class QuantizationRequest:
    """The part of a user's request that concerns precision."""

    precision: str = "fp32"
    """A name in `PRECISIONS`."""
    scales: Scales = "batch"
    """Run-time scales of int8: one for each layer's input, or one for each token."""
    calibration: Path | None = None
    """Folder of images to calibrate on."""
    include: tuple[Part, ...] = ()
    """Parts to quantize besides the linear layers of the blocks."""
    io_fp16: bool = False
    """Whether the inputs and outputs of an fp16 file are fp16 as well."""
    min_snr: float | None = None
    """Minimum signal-to-noise ratio that auto has to keep, in dB."""
    min_top1: float | None = None
    """Minimum share of images whose top class auto has to keep, 0 to 1."""
    plot: Path | None = None
    """File for the plot of auto's search."""
    plan: Path | None = None
    """An earlier file in auto, whose schemes are repeated in place of a search."""

    @property
    def budget(self) -> Budget:
        """The accuracy that a file in auto has to keep.

        Raises:
            RequestError: a number is out of range.
        """
        limits = {"min_snr_db": self.min_snr, "min_top1": self.min_top1}
        return Budget(**{name: value for name, value in limits.items() if value is not None})


def check_precision(request: QuantizationRequest, target: str, offers: tuple[str, ...]) -> None:
    """Raise RequestError unless `target`, which offers these precisions, supports `request`.

    Raises:
        RequestError: the precision is unknown, the target does not offer it, or an option has no
            effect with it.
    """
    _check_name(request.precision, target, offers)
    if request.precision == "int8-static" and request.calibration is None:
        other = ", or take int8" if "int8" in offers else ""
        raise RequestError(
            "int8-static computes its scales on images.",
            f"name a folder: --calibration DIR{other}.",
        )
    if request.scales not in get_args(Scales):
        fix = did_you_mean(request.scales, get_args(Scales))
        raise RequestError(f"There are no scales {request.scales!r}.", fix)
    _check_options(request, offers)
    _ = request.budget  # raises RequestError for numbers out of range
    _check_parts(request)


def _check_name(precision: str, target: str, offers: tuple[str, ...]) -> None:
    if precision == "bf16" and "bf16" not in offers:
        message = f"{target} has no bf16: ONNX Runtime runs the proof, and {NO_BF16}."
        raise RequestError(message, "take fp16, or trt --bf16.")
    if precision not in PRECISIONS:
        fix = did_you_mean(precision, PRECISIONS)
        raise RequestError(f"There is no precision {precision!r}.", fix)
    if precision not in offers:
        message = f"{target} has no {precision}."
        raise RequestError(message, f"take {' or '.join(offers)}.")


def _check_options(request: QuantizationRequest, offers: tuple[str, ...]) -> None:
    """Raise RequestError unless every option of `request` has an effect on its precision."""
    defaults = QuantizationRequest()
    for name, precisions in OPTION_PRECISIONS.items():
        is_default = getattr(request, name) == getattr(defaults, name)
        if not is_default and request.precision not in precisions:
            flag = name.replace("_", "-")
            message = f"--{flag} means nothing with --precision {request.precision}."
            others = [f"take {precision}" for precision in offers if precision in precisions]
            raise RequestError(message, f"{' or '.join(['leave it out', *others])}.")


def _check_parts(request: QuantizationRequest) -> None:
    unknown = [part for part in request.include if part not in PARTS]
    if unknown:
        raise RequestError(f"No part is called {unknown[0]!r}.", did_you_mean(unknown[0], PARTS))
    if "attention" not in request.include:
        return
    if request.precision not in {"int8", "int8-static"}:
        message = f"{request.precision} is for layers with weights, which attention's matmuls lack."
        raise RequestError(message, "leave --include attention out, or take int8 or int8-static.")
    if request.scales == "token":
        message = "A scale per token does not fit attention, whose sums run over tokens."
        raise RequestError(message, "leave --include attention or --scales token out.")


def check_flavour(request: QuantizationRequest, flavour: str, opset: int) -> None:
    """Raise RequestError unless a graph of `flavour` and `opset` supports this precision."""
    precision = request.precision
    reason = PRECISIONS[precision].refusals.get(flavour)
    if request.scales == "token":
        reason = NO_ZERO_POINTS if flavour == "tensorrt" else None
    if reason is not None:
        message = f"{precision} is not supported for {flavour}: {reason}."
        raise RequestError(message, "leave --for out, or take another precision.")
    if precision == "weights-int4" and flavour != "onnxruntime" and opset < BLOCKWISE_OPSET:
        other = "" if flavour == "tensorrt" else ", or --for onnxruntime"
        raise RequestError(
            f"opset {opset} has no 4-bit weights.", f"take --opset {BLOCKWISE_OPSET}{other}."
        )
    if "attention" in request.include and flavour == "onnxruntime":
        message = "ONNX Runtime's own attention operator computes in fp32."
        raise RequestError(message, "leave --include attention or --for onnxruntime out.")


def find_wrong_arithmetic(
    counts: Mapping[str, int],
    precision: str,
    *,
    unit: str = "multiply-adds",
    accept: Collection[str] = (),
) -> str | None:
    """The end of a sentence that says why a file is not in `precision`; None if it is.

    Args:
        counts: number of multiply-adds or products by their arithmetic.
        precision: a name in `PRECISIONS`.
        unit: what `counts` counts.
        accept: further arithmetic that counts as `precision`.
    """
    expected = PRECISIONS[precision].arithmetic
    fitting = sum(counts.get(arithmetic, 0) for arithmetic in {expected, *accept})
    if not expected or fitting >= MIN_SHARE * max(sum(counts.values()), 1):
        return None
    parts = ", ".join(f"{count:,} in {arithmetic}" for arithmetic, count in counts.items())
    return f"is not {precision}: of its {unit} {parts or 'none'}"
