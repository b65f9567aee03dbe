"""Lines of code of other people in an error's traceback: where their code is, and what it says."""

import sysconfig
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
INSTALLED = ("site-packages", "dist-packages")
"""Folders of installed packages, which may lie inside the folder of the standard library."""
FRAMEWORKS = ("torch", "einops", "onnx_ir", "onnxscript")
"""Packages that other people's models call, so that the line that matters is the one before."""


def list_own_frames(frames: Iterable[traceback.FrameSummary]) -> list[traceback.FrameSummary]:
    """Return the frames of code that is neither ours, nor Python's, nor a framework's."""
    return [frame for frame in frames if not _is_foreign(frame.filename)]


def describe_frame(frame: traceback.FrameSummary) -> str:
    """Return file, line, function and code of a frame: `net.py:20 in forward (x = x[0])`."""
    code = f" ({frame.line.strip()})" if frame.line else ""
    return f"{_shorten(frame.filename)}:{frame.lineno} in {frame.name}{code}"


def describe_error(error: BaseException, most: int = 3) -> str:
    """Return an error of other people's code in one line, with its last frames, innermost last."""
    lines = str(error).strip().splitlines()
    text = f"{type(error).__name__}: {lines[0].rstrip('.')}" if lines else type(error).__name__
    frames = list_own_frames(traceback.extract_tb(error.__traceback__))[-most:]
    return f"{text}{_join(frames)}"


def _join(frames: Sequence[traceback.FrameSummary]) -> str:
    return f", at {', '.join(map(describe_frame, frames))}" if frames else ""


def _is_foreign(file: str) -> bool:
    if file.startswith("<"):
        return True
    path = Path(file)
    if path.is_relative_to(PACKAGE):
        return True
    folder = next((i for i, part in enumerate(path.parts) if part in INSTALLED), None)
    if folder is None:
        return path.is_relative_to(sysconfig.get_path("stdlib"))
    return path.parts[folder + 1] in FRAMEWORKS


def _shorten(file: str) -> str:
    """Return a path from the current folder or from the folder of installed packages on."""
    path = Path(file)
    for i, part in enumerate(path.parts):
        if part in INSTALLED:
            return "/".join(path.parts[i + 1 :])
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file
