"""What the search of --precision auto has to find, and for which file."""

from dataclasses import dataclass, replace
from typing import Self

from vit_export.artifact.batch import Batch
from vit_export.artifact.manifest import Manifest
from vit_export.artifact.output_signals import OutputSignals
from vit_export.artifact.outputs import LOGITS
from vit_export.artifact.precision import QuantizationRequest


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """The request of a search, and properties of the file that it is for."""

    request: QuantizationRequest
    flavour: str
    batch: Batch
    classifies: bool
    signals: OutputSignals
    """The signals of the model's answers in the proof."""
    threads: int | None
    """Threads of the runtime that times layers; None leaves the number to it."""

    @classmethod
    def from_manifest(
        cls, request: QuantizationRequest, manifest: Manifest, threads: int | None
    ) -> Self:
        """The settings for the file that `manifest` describes."""
        reference, signature = manifest.reference, manifest.signature
        signals = OutputSignals.measure(reference, signature, manifest.output_head)
        return cls(
            request=request,
            flavour=str(manifest.settings.flavour),
            batch=manifest.batch,
            classifies=manifest.exclusive_classes is not None,
            signals=replace(signals, head=LOGITS),  # the search compares the model itself
            threads=threads,
        )

    @property
    def schemes(self) -> tuple[str, ...]:
        """The candidate schemes besides fp32; static ranges need calibration images."""
        zero_point = "-zero-point" if self.flavour == "onnxruntime" else ""
        static = (f"int8-static{zero_point}",) if self.request.calibration else ()
        return (*static, "int8", "int8-token-zero-point")
