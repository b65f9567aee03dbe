"""The precisions that a file can be asked for, and the runtimes that have no use for them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from vit_export.artifact.budget import Budget
from vit_export.core.errors import RequestError, did_you_mean

Scales = Literal["batch", "token"]
Part = Literal["patches", "head", "attention"]
PARTS: tuple[Part, ...] = ("patches", "head", "attention")
"""Of a model, besides the linear layers of its blocks."""
BLOCKED_OPSET = 21
"""The first whose DequantizeLinear knows blocks and four bits."""


@dataclass(frozen=True, kw_only=True)
class Precision:
    """One value of --precision."""

    name: str
    arithmetic: str = "fp32"
    """What most multiply-adds have to be done in (`graph.census`); empty where all may be."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """By flavour: why it is not built for that runtime."""


IN_FP32 = "its CPU provider computes fp16 in fp32, and casts on top: no faster than fp32"
NO_FASTER = "on a CPU it computes fp16 in fp32: no faster than fp32"
NO_RUN_TIME_SCALES = "TensorRT's parser knows no DynamicQuantizeLinear"
SLOW_RUN_TIME_SCALES = "it runs DynamicQuantizeLinear slower than fp32; int8-static is faster"
ZERO_POINTS = "TensorRT's parser takes no zero points, which scales for each token come with"
TIMED_ELSEWHERE = "it times layers in ONNX Runtime, and what is fast there may be slow elsewhere"

BF16 = "its CPU provider has no bf16 arithmetic, so the file could not be opened to be proven"

PRECISIONS = {
    one.name: one
    for one in (
        Precision(name="fp32"),
        Precision(
            name="fp16",
            arithmetic="fp16",
            refused={"onnxruntime": IN_FP32, "openvino": NO_FASTER},
        ),
        Precision(
            name="bf16",
            arithmetic="bf16",
            refused=dict.fromkeys(("portable", "onnxruntime", "openvino"), BF16),
        ),
        Precision(
            name="int8",
            arithmetic="int8",
            refused={"tensorrt": NO_RUN_TIME_SCALES, "openvino": SLOW_RUN_TIME_SCALES},
        ),
        Precision(
            name="int8-static",
            arithmetic="int8",
        ),
        Precision(
            name="weights-int8",
            arithmetic="fp32 x int8",
        ),
        Precision(
            name="weights-int4",
            arithmetic="fp32 x int4",
        ),
        Precision(
            name="auto",
            arithmetic="",
            refused={"tensorrt": TIMED_ELSEWHERE, "openvino": TIMED_ELSEWHERE},
        ),
    )
}
QUANTIZED = {"int8", "int8-static", "weights-int8", "weights-int4", "auto"}
OWNERS: Mapping[str, set[str]] = {
    "calibration": QUANTIZED,
    "include": QUANTIZED,
    "scales": {"int8"},
    "io_fp16": {"fp16"},
    "min_snr": {"auto"},
    "min_top1": {"auto"},
    "plot": {"auto"},
}
"""The precisions with which a field of `Asked` means something."""


@dataclass(frozen=True)
class Asked:
    """What a request says of precision."""

    precision: str = "fp32"
    scales: Scales = "batch"
    """Of int8: one run-time scale for all that goes into a layer, where no outliers are, or one for
    each token."""
    calibration: Path | None = None
    """A folder of images."""
    include: tuple[Part, ...] = ()
    """Of quantized precisions: what else is quantized."""
    io_fp16: bool = False
    """Of fp16: its inputs and outputs too."""
    min_snr: float | None = None
    """Of auto, in dB; so is"""
    min_top1: float | None = None
    """the share of images whose top class stays."""
    plot: Path | None = None
    """Of auto: where a picture of the search goes."""

    @property
    def budget(self) -> Budget:
        """What a file of auto has to keep.

        Raises:
            RequestError: nothing can be asked for like that.
        """
        given = {"min_snr_db": self.min_snr, "min_top1": self.min_top1}
        return Budget(**{name: value for name, value in given.items() if value is not None})


def check_precision(asked: Asked, target: str, offered: tuple[str, ...]) -> None:
    """Nothing, when `target`, which has `offered` precisions, can be built as asked.

    Raises:
        RequestError: an unknown precision, one that the target lacks, or settings without effect.
    """
    if asked.precision == "bf16" and "bf16" not in offered:
        message = f"{target} has no bf16: ONNX Runtime proves it, and {BF16}."
        raise RequestError(message, "take fp16, or trt --bf16.")
    if asked.precision not in PRECISIONS:
        fix = did_you_mean(asked.precision, PRECISIONS)
        raise RequestError(f"There is no precision {asked.precision!r}.", fix)
    if asked.precision not in offered:
        message = f"{target} has no {asked.precision}."
        raise RequestError(message, f"it is built in {', '.join(offered)}.")
    if asked.precision == "int8-static" and asked.calibration is None:
        message = "int8-static finds its scales on images."
        other = ", or take int8" if "int8" in offered else ""
        raise RequestError(message, f"name a folder: --calibration DIR{other}.")
    if asked.scales not in get_args(Scales):
        fix = did_you_mean(asked.scales, get_args(Scales))
        raise RequestError(f"There are no scales {asked.scales!r}.", fix)
    for name, owners in OWNERS.items():
        if getattr(asked, name) != getattr(Asked(), name) and asked.precision not in owners:
            flag = name.replace("_", "-")
            message = f"--{flag} means nothing with --precision {asked.precision}."
            fix = " or ".join(
                ["leave it out", *(f"take {one}" for one in offered if one in owners)]
            )
            raise RequestError(message, f"{fix}.")
    _ = asked.budget  # which refuses what makes none
    _check_parts(asked)


def _check_parts(asked: Asked) -> None:
    unknown = [part for part in asked.include if part not in PARTS]
    if unknown:
        raise RequestError(f"No part is called {unknown[0]!r}.", did_you_mean(unknown[0], PARTS))
    if "attention" not in asked.include:
        return
    if asked.precision not in {"int8", "int8-static"}:
        message = f"{asked.precision} is for layers with weights, which attention's products lack."
        raise RequestError(message, "leave --include attention out, or take int8 or int8-static.")
    if asked.scales == "token":
        message = "A scale for each token does not fit attention: its sums run over tokens."
        raise RequestError(message, "leave --include attention or --scales token out.")


def check_flavour(asked: Asked, flavour: str, opset: int) -> None:
    """Nothing, when a graph of `flavour` and `opset` can have what was asked, and gains by it.

    Raises:
        RequestError: with the reason.
    """
    precision = asked.precision
    reason = PRECISIONS[precision].refused.get(flavour)
    if asked.scales == "token":
        reason = ZERO_POINTS if flavour == "tensorrt" else None
    if reason is not None:
        message = f"{precision} is not built for {flavour}: {reason}."
        raise RequestError(message, "leave --for out, or take another precision.")
    if precision == "weights-int4" and flavour != "onnxruntime" and opset < BLOCKED_OPSET:
        message = f"opset {opset} has no weights of four bits."
        other = "" if flavour == "tensorrt" else ", or --for onnxruntime"
        raise RequestError(message, f"take --opset {BLOCKED_OPSET}{other}.")
    if "attention" in asked.include and flavour == "onnxruntime":
        message = "ONNX Runtime's own attention operator computes in fp32."
        raise RequestError(message, "leave --include attention or --for onnxruntime out.")
