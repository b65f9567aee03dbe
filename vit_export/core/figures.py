"""Figures as files: refused before the work that they show, and written whole or not at all."""

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
        RequestError: matplotlib writes no format of this suffix, or the folder is missing.
        BuildError: the folder cannot be written to.
    """
    from matplotlib.figure import Figure

    if _format(path) not in Figure().canvas.get_supported_filetypes():
        message = f"{path}: {path.suffix} is no format of pictures."
        raise RequestError(message, "name a .png, .svg or .pdf.")
    check_writable(path)


def save_figure(path: Path, figure: "Figure") -> None:
    """Write a figure in the format of the suffix; PNG if `path` has none."""
    with stage_file(path) as stage:
        figure.savefig(stage.file, format=_format(path), dpi=DOTS_PER_INCH)
        stage.commit()


def _format(path: Path) -> str:
    return path.suffix.removeprefix(".").lower() or "png"
