"""Figures as files: refused before the work that they show, and written whole or not at all."""

from pathlib import Path
from typing import TYPE_CHECKING

from vit_export.core.errors import RequestError
from vit_export.core.staging import check_writable, staged

if TYPE_CHECKING:  # matplotlib is heavy, and only a picture needs it
    from matplotlib.figure import Figure


def check_picture(path: Path) -> None:
    """Nothing, when a picture can be written to `path`.

    Raises:
        RequestError: its suffix is of no format that matplotlib writes; its folder is missing.
        BuildError: its folder can't be written.
    """
    from matplotlib.figure import Figure

    if _format(path) not in Figure().canvas.get_supported_filetypes():
        message = f"{path}: {path.suffix} is no format of pictures."
        raise RequestError(message, "name a .png, .svg or .pdf.")
    check_writable(path)


def write_picture(path: Path, figure: "Figure") -> None:
    """Writes the figure; the suffix of `path` tells the format, PNG where it has none."""
    with staged(path) as stage:
        figure.savefig(stage.file, format=_format(path), dpi=150)
        stage.commit()


def _format(path: Path) -> str:
    return path.suffix.removeprefix(".").lower() or "png"
