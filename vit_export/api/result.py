"""The outcome of an export: a proven file, and notes for its user."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vit_export.artifact.budget import SearchResult
from vit_export.validation.metrics import AccuracyReport
from vit_export.validation.verdict import Verdict


@dataclass(frozen=True)
class Origin:
    """Where the weights of a file come from, and notes on how it was built."""

    weights_from: str
    """In words: shipped, random from a seed, or the name of a file."""
    random_weights: bool
    """Random weights are right for speed and size; their answers mean nothing."""
    unused: Mapping[str, str]
    """Tensors of the checkpoint that the model does not use, with the reason."""
    preprocessing: str = ""
    """A note on the preprocessing: that it is assumed, or adapted to another image size."""
    assumed: Mapping[str, Any] = field(default_factory=dict)
    """What was assumed about the checkpoint, because nothing records it."""
    calibration: str = ""
    """A note on the images of the calibration."""
    search: SearchResult | None = None
    """How the search for precision auto decided."""
    kept: Mapping[str, str] = field(default_factory=dict)
    """Layers that stay in fp32 because the scheme can't take them, with the reason."""


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """A proven file, under the name that the user gave."""

    path: Path
    size_bytes: int
    origin: Origin
    verdict: Verdict
    notes: tuple[str, ...] = ()
    """Further notes for the user, one sentence each."""

    @property
    def images(self) -> AccuracyReport | None:
        """Accuracy on the user's images; None without images."""
        return self.verdict.images
