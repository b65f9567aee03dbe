"""A user's request for an export: complete, checked and immutable."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vit_export.api.inputs import list_inputs
from vit_export.artifact.batch import Batch
from vit_export.artifact.precision import QuantizationRequest
from vit_export.backends import BACKENDS
from vit_export.backends.base import Backend
from vit_export.backends.option import Value
from vit_export.checkpoints.hints import Check, CheckpointHints
from vit_export.checkpoints.module.request import ModuleRequest
from vit_export.checkpoints.overrides import ModelOverrides
from vit_export.core.errors import RequestError
from vit_export.core.figures import resolve_figure
from vit_export.core.output_path import check_keeps_inputs, check_writable
from vit_export.core.staging import data_files, rejected_names
from vit_export.data.annotations import Annotations
from vit_export.data.image_folder import find_images

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
    source: Path | None = None
    """An ONNX file of another tool that is the model."""
    module: ModuleRequest | None = None
    """The user's own code in place of `model`; for a module in memory, the shape of its images."""
    weights: Path | None = None
    seed: int = 0
    """Seed of random weights."""
    hints: CheckpointHints
    check: Check = "auto"
    """Whether the library's own model has to answer as what was read from the checkpoint."""
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
        if self.quantization.plan is not None and self.quantization.plot is not None:
            message = "--plot shows a search, and --plan takes its place."
            raise RequestError(message, "leave one of them out.")
        check_suffix(self.backend, self.out)
        check_writable(self.out)
        self._check_keeps_inputs()
        if self.quantization.calibration is not None:
            find_images(self.quantization.calibration)

    @property
    def reference_name(self) -> str:
        """What the right answers come from, in words."""
        if self.source is not None:
            return f"{self.source.name} in ONNX Runtime"
        return "eager PyTorch"

    def _check_keeps_inputs(self) -> None:
        """Raise RequestError if OUT, what stands beside it, or the figure replaces a file."""
        inputs = list_inputs(
            weights=self.weights,
            model=self.model,
            labels=self.overrides.labels,
            images=self.images,
        )
        quantization = self.quantization
        inputs |= {"--calibration": quantization.calibration, "--plan": quantization.plan}
        inputs |= {"--from": self.source}
        companions = [*self.backend.companions(self.out), *rejected_names(self.out)]
        check_keeps_inputs(
            self.out,
            inputs,
            companions=[*companions, *data_files(self.out)],
            suffixes={self.backend.suffix},
        )
        resolve_figure(self.quantization.plot, {**inputs, "--out": self.out})
        for option in self.backend.options:
            if option.metavar == "FILE" and self.options[option.name]:
                file = Path(str(self.options[option.name]))
                flag = f"--{option.flag_name}"
                check_keeps_inputs(file, {**inputs, "--out": self.out}, option=flag)


def check_suffix(backend: Backend, out: Path) -> None:
    """Raise RequestError if OUT has the suffix of another kind of file."""
    suffixes = {one.suffix: one.title for one in BACKENDS.values() if one is not backend}
    suffixes[".safetensors"] = "safetensors"
    title = suffixes.get(out.suffix.lower())
    if title is not None:
        message = (
            f"{out} would be {backend.title}, and {out.suffix} is the suffix of {title} files."
        )
        raise RequestError(message, f"name it {out.with_suffix(backend.suffix)}.")
