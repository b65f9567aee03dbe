"""A user's request for an export: complete, checked and immutable."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vit_export.artifact.batch import Batch
from vit_export.artifact.precision import QuantizationRequest
from vit_export.backends.base import Backend
from vit_export.backends.option import Value
from vit_export.checkpoints.hints import CheckpointHints
from vit_export.checkpoints.overrides import ModelOverrides
from vit_export.core.errors import RequestError
from vit_export.core.figures import check_figure
from vit_export.core.staging import check_writable
from vit_export.data.annotations import Annotations
from vit_export.data.images import find_images

if TYPE_CHECKING:  # torch is heavy, and a bad request is refused without it
    from vit_export.checkpoints.load import ModelLike


@dataclass(frozen=True, kw_only=True, eq=False)
class ExportRequest:
    """Everything that a user requests of one export.

    Raises:
        RequestError: the request makes no sense, or files that it names are missing.
        MissingError: this machine lacks something that the backend needs.
        BuildError: OUT or the plot can't be written.
    """

    backend: Backend
    out: Path
    model: "ModelLike | None" = None
    """A preset's name or TOML, a module, (VitSpec, state dict), or None for that of `weights`."""
    weights: Path | None = None
    seed: int = 0
    """Seed of random weights."""
    hints: CheckpointHints
    overrides: ModelOverrides
    batch: Batch
    quantization: QuantizationRequest
    options: Mapping[str, Value]
    """A value for every option of the backend."""
    images: Annotations | None = None
    """Images to measure accuracy on."""
    threads: int | None = None
    """Threads of the runtime that runs the file; None for the runtime's default."""

    def __post_init__(self) -> None:
        self.backend.check(self.quantization, self.options)
        self.hints.spec_fields()
        check_writable(self.out)
        if self.quantization.calibration is not None:
            find_images(self.quantization.calibration)
        plot = self.quantization.plot
        if plot is not None:
            check_figure(plot)
            if plot.resolve() == self.out.resolve():
                raise RequestError(
                    f"{self.out} can't be the figure too.", "give --plot another name."
                )
