"""Finds the first module of an artifact that differs from the model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vit_export.api.adopt import adopt
from vit_export.api.validate_foreign import judge
from vit_export.api.validate_inputs import split_names
from vit_export.api.validation_request import ValidationRequest, check_own_file
from vit_export.backends.open import find_backend_of, open_artifact
from vit_export.checkpoints.module.request import ModuleRequest
from vit_export.checkpoints.overrides import ModelOverrides, Outputs
from vit_export.checkpoints.rebuild import ModelSource
from vit_export.core.errors import ProofError
from vit_export.core.figures import resolve_figure
from vit_export.core.progress import Progress, silent
from vit_export.model.output_names import parse_output_names
from vit_export.validation.localize import (
    Localization,
    MismatchError,
    compare_modules,
    find_first_mismatch,
)
from vit_export.validation.plots import plot_localization


def locate(
    artifact: str | Path,
    *,
    weights: str | Path | None = None,
    module: str | None = None,
    arguments: Mapping[str, Any] | Sequence[str] = (),
    image_size: str | None = None,
    input_shape: str | None = None,
    outputs: Outputs | None = None,
    output_names: str | Sequence[str] = (),
    plot: str | Path | None = None,
    threads: int | None = None,
    progress: Progress = silent,
) -> Localization:
    """Compare every module of an artifact with eager PyTorch, on the artifact's samples.

    Args:
        artifact: a file that vit-export wrote, or an ONNX file of another tool; the latter needs
            `weights` or `module`.
        weights: the checkpoint it came from; shipped and random weights need none.
        module: the user's own code that the file was exported from, which runs: as in the export.
        arguments: arguments of that class or function by name, as in the export.
        image_size: "HxW" of the images of another tool's file, if it takes several sizes.
        input_shape: "CxHxW", or the sides of any other sample, in place of `image_size`.
        outputs: what another tool's file answers, if it is not the model's own answer.
        output_names: its outputs, in the order of the model's, if neither names nor shapes tell.
        plot: a figure file to write, of the error from module to module.
        threads: intra-op threads of the runtime; None for the runtime's default.
        progress: opened around every stage.

    Raises:
        RequestError: vit-export did not write the file, its modules cannot answer one by one, it
            takes no single image, or `weights` or `module` are not those it was built from.
        MissingError: the file's runtime is not installed, or no sample can be made again here.
        ProofError: the file answers another shape than its manifest says.
        MismatchError: a module exceeds its tolerance. The error names the first such module and
            carries all of them.
    """
    checkpoint = None if weights is None else Path(weights)
    request = ValidationRequest(
        weights=checkpoint,
        module=ModuleRequest.choose(module, arguments, input_shape, image_size),
        overrides=ModelOverrides(
            image_size=image_size,
            outputs=None if outputs is None else parse_output_names(outputs),
        ),
        output_names=split_names(output_names),
    )
    path = Path(artifact)
    figure = resolve_figure(plot, {"ARTIFACT": path, "--weights": checkpoint})
    localization = _locate(path, request, threads, progress)
    if figure is not None:
        plot_localization(figure, localization)
    if localization.first is not None:
        raise MismatchError(localization, localization.first)
    return localization


def _locate(
    path: Path, request: ValidationRequest, threads: int | None, progress: Progress
) -> Localization:
    has_taps = find_backend_of(path).open_taps is not None
    if has_taps and open_artifact(path, threads).manifest_json() is None:
        return _locate_in_foreign(path, request, threads, progress)
    check_own_file(path, request)
    source = ModelSource(weights=request.weights, module=request.module)
    return find_first_mismatch(path, source, threads, progress)


def _locate_in_foreign(
    path: Path, request: ValidationRequest, threads: int | None, progress: Progress
) -> Localization:
    """Return the modules whose numbers another tool's file has.

    Raises:
        ProofError: the file lacks the numbers of the modules behind one; the message names it.
    """
    from vit_export.validation.foreign_taps import ForeignTaps

    file = adopt(path, request, threads, progress)
    recipes, inputs = file.samples.recipes, file.samples.inputs
    taps = ForeignTaps(path, file.model, sample=inputs[0], threads=threads)
    samples = list(zip(recipes, inputs, strict=True))
    modules = compare_modules(taps, samples, file.manifest.tolerance, progress)
    localization = Localization(artifact=str(path), runtime=file.session.runtime, modules=modules)
    departure = taps.describe_departure()
    if departure and localization.first is None and not judge(path, file, progress).accepted:
        raise ProofError(f"{path}: {departure}.", "check the weights, and the exporter.")
    return localization
