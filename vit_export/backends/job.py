"""The input of `Backend.build`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vit_export.artifact.manifest import Manifest
from vit_export.core.numerics import Array

if TYPE_CHECKING:  # torch is heavy, and listing backends must be light
    from vit_export.model.lower import Lowered
    from vit_export.quantization.plan import QuantizationPlan


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """What a backend builds a file from."""

    lowered: "Lowered"
    """The export-friendly module, in fp32."""
    manifest: Manifest
    """The manifest of the file, without the parts that only the backend knows."""
    plan: "QuantizationPlan"
    """Which layers are quantized, and how."""
    samples: Array
    """(M, C, H, W): inputs on which the range of a graph's tensors is measured."""
    io_fp16: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    """A value for every option of the backend, also for those that the manifest does not keep."""
