"""Matplotlib figures as files: checked before the work starts, and written whole or not at all."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from vit_export.core.errors import RequestError
from vit_export.core.output_path import check_keeps_inputs, check_writable, resolve_out
from vit_export.core.staging import stage_file

if TYPE_CHECKING:  # matplotlib is heavy, and only a figure needs it
    from matplotlib.figure import Figure

DOTS_PER_INCH = 150


def resolve_figure(plot: str | Path | None, inputs: Mapping[str, Path | None]) -> Path | None:
    """Return the path of a figure to write, after every check; None if none was requested.

    Args:
        plot: the file to write.
        inputs: files that the command reads or writes, by the option that names each.

    Raises:
        RequestError: matplotlib has no format for this suffix, `plot` can't be a file, or it is one
            of `inputs`.
        BuildError: the folder cannot be written to.
    """
    if plot is None:
        return None
    from matplotlib.figure import Figure

    path = resolve_out(plot)
    if _format(path) not in Figure().canvas.get_supported_filetypes():
        message = f"{path}: {path.suffix} is no image format that matplotlib writes."
        raise RequestError(message, "name a .png, .svg or .pdf file.")
    check_writable(path)
    check_keeps_inputs(path, inputs, option="--plot")
    return path


def save_figure(path: Path, figure: "Figure") -> None:
    """Write `figure` to `path`, in the format of the suffix; without a suffix it is PNG.

    Raises:
        RequestError: `path` is a folder, or its folder is missing.
        BuildError: the folder cannot be written to, or the disk is full.
    """
    with stage_file(path) as stage:
        figure.savefig(stage.file, format=_format(path), dpi=DOTS_PER_INCH)
        stage.commit()


def _format(path: Path) -> str:
    return path.suffix.removeprefix(".").lower() or "png"
