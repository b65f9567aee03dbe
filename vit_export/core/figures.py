"""Matplotlib figures as files: checked before the work starts, and written whole or not at all."""

from pathlib import Path
from typing import TYPE_CHECKING

from vit_export.core.errors import RequestError
from vit_export.core.staging import check_writable, stage_file

if TYPE_CHECKING:  # matplotlib is heavy, and only a figure needs it
    from matplotlib.figure import Figure

DOTS_PER_INCH = 150


def check_figure(path: Path) -> None:
    """Raise an error unless a figure can be written to `path`.

    Raises:
        RequestError: matplotlib has no format for this suffix, `path` is a folder, or its folder is
            missing.
        BuildError: the folder cannot be written to.
    """
    from matplotlib.figure import Figure

    if _format(path) not in Figure().canvas.get_supported_filetypes():
        message = f"{path}: {path.suffix} is no image format that matplotlib writes."
        raise RequestError(message, "name a .png, .svg or .pdf file.")
    check_writable(path)


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
