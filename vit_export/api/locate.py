"""Finds the first module of an artifact that differs from the model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vit_export.checkpoints.module.request import ModuleRequest
from vit_export.checkpoints.rebuild import ModelSource
from vit_export.core.figures import resolve_figure
from vit_export.core.progress import Progress, silent
from vit_export.validation.localize import Localization, MismatchError, find_first_mismatch
from vit_export.validation.plots import plot_localization


def locate(
    artifact: str | Path,
    *,
    weights: str | Path | None = None,
    module: str | None = None,
    arguments: Mapping[str, Any] | Sequence[str] = (),
    plot: str | Path | None = None,
    threads: int | None = None,
    progress: Progress = silent,
) -> Localization:
    """Compare every module of an artifact with eager PyTorch, on the artifact's samples.

    Args:
        artifact: a file that vit-export wrote.
        weights: the checkpoint it came from; shipped and random weights need none.
        module: the user's own code that the file was exported from, which runs: as in the export.
        arguments: arguments of that class or function by name, as in the export.
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
    source = ModelSource(
        weights=checkpoint, module=ModuleRequest.choose(module, arguments, None, None)
    )
    figure = resolve_figure(plot, {"ARTIFACT": Path(artifact), "--weights": checkpoint})
    localization = find_first_mismatch(Path(artifact), source, threads, progress)
    if figure is not None:
        plot_localization(figure, localization)
    if localization.first is not None:
        raise MismatchError(localization, localization.first)
    return localization
