"""A candidate: one way to answer images, in plain values that another process can read."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from vit_export.bench.eager import EagerRecipe

INT8_PRECISIONS = frozenset({"int8", "int8-static", "weights-int8", "weights-int4", "auto"})
"""Precisions of artifacts that compute some or all of their matmuls in int8.

`weights-int8` and `weights-int4` belong here because ONNX Runtime quantizes their activations too
(MatMulNBits, accuracy level 4). fp16 does not: a CPU computes it in fp32.
"""
GPU = "gpu"
"""Arithmetic of a candidate that runs on a GPU: the roofline of this CPU does not bound it."""


def infer_arithmetic(precision: str) -> str:
    """Return the fastest arithmetic that an artifact of `precision` may use: "fp32" or "int8"."""
    return "int8" if precision in INT8_PRECISIONS else "fp32"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One way to answer images."""

    name: str
    kind: str
    """A key of `runners.RUNNERS`."""
    arithmetic: str = "fp32"
    """Arithmetic of the matmuls: "fp32", "int8" (also where fp32 is mixed in) or `GPU`."""
    path: str = ""
    """The file to open; empty if the candidate is built in memory."""
    eager: EagerRecipe | None = None
    """The eager model to run; None if the candidate opens a file."""
    calibration: str = ""
    """A .npy file of calibration batches (M, B, C, H, W); empty if opening quantizes nothing."""
    threads: int | None = None
    """Number of threads; None leaves the runtime its default, as its users run it."""

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Return the candidate that `to_mapping` wrote."""
        eager = values["eager"]
        return cls(**{**values, "eager": None if eager is None else EagerRecipe(**eager)})

    def to_mapping(self) -> dict[str, Any]:
        """Return the fields as plain values, ready for JSON."""
        return asdict(self)
