"""Who takes part in a bench, in plain values: what a process of its own has to know to open it."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from vit_export.core.numerics import Array

Run = Callable[[Array], Array]
Opened = tuple[Run, str]
"""What runs a batch of images (B, C, H, W), and the version of what does it."""

INT8 = frozenset({"int8", "int8-static", "weights-int8", "weights-int4", "auto"})
"""Precisions of artifacts whose products are, or may be, of whole numbers.

Weights alone as well: ONNX Runtime quantizes activations for them (MatMulNBits, accuracy level 4).
fp16 is not among them: on a CPU it is computed in fp32.
"""


GPU = "gpu"
"""In place of an arithmetic, of what no CPU computes: this machine's limit says nothing of it."""


def arithmetic_of(precision: str) -> str:
    """The fastest arithmetic that an artifact of `precision` may have: "fp32" or "int8"."""
    return "int8" if precision in INT8 else "fp32"


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """One way of answering images."""

    name: str
    kind: str
    """A key of `openers.OPENERS`."""
    arithmetic: str = "fp32"
    """Of its products, "fp32" or "int8"; where it has both, "int8"; of an engine `GPU`."""
    path: str = ""
    """The file that is opened, where there is one."""
    spec: Mapping[str, Any] | None = None
    """The model, where it is made on the spot."""
    weights: str = ""
    """Its weights, a safetensors file of our names; random ones where it is empty."""
    calibration: str = ""
    """A .npy file of batches (M, B, C, H, W) to calibrate on, where opening it quantizes."""
    threads: int | None = None
    """None: as many as the runtime takes by itself, which is what its users run."""

    def to_mapping(self) -> dict[str, Any]:
        """Plain values, for the process that opens it."""
        return asdict(self)
