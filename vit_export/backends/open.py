"""The runtimes that open artifacts, found by what a file holds, not by what it is called.

A new runtime is one file with a `Session` and one line in `RUNTIMES`.
"""

from collections.abc import Callable
from pathlib import Path

from vit_export.artifact.manifest import Manifest
from vit_export.backends.onnx import session as onnxruntime
from vit_export.backends.session import Session
from vit_export.backends.tensorrt.sidecar import is_engine, read_sidecar
from vit_export.backends.torchscript import session as torchscript
from vit_export.core.errors import RequestError

Opener = Callable[[Path, int | None], Session]

RUNTIMES: dict[bytes, Opener] = {
    b"PK\x03\x04": torchscript.TorchScriptSession,  # a zip archive
    onnxruntime.MAGIC: onnxruntime.OnnxSession,
}
"""Openers by a file's first bytes."""


def open_artifact(path: Path, threads: int | None = None) -> Session:
    """A session on the artifact at `path`, with `threads` intra-op threads (None: its default).

    Raises:
        RequestError: missing, cut off, or no artifact at all.
    """
    if not path.is_file():
        raise RequestError(f"{path}: no such artifact.", "check the path.")
    if is_engine(path):
        return _engine(path, threads)
    with path.open("rb") as file:
        head = file.read(8)
    for magic, opener in RUNTIMES.items():
        if head.startswith(magic):
            return opener(path, threads)
    raise RequestError(
        f"{path} is no ONNX, TorchScript or TensorRT.", "give a file that vit-export wrote."
    )


def _engine(path: Path, threads: int | None) -> Session:
    """An engine, or a program of torch-tensorrt, which its manifest tells apart."""
    from vit_export.backends.tensorrt.exported import ExportedSession
    from vit_export.backends.tensorrt.session import EngineSession

    if read_sidecar(path).engine["kind"] == "torch":
        return ExportedSession(path, threads)
    return EngineSession(path, threads)


def read_manifest(session: Session, path: Path) -> Manifest:
    """The manifest of the artifact that `session` has open from `path`.

    Raises:
        RequestError: it carries none, or one that can't be read.
    """
    text = session.manifest_json()
    if text is None:
        message = f"{path} carries no manifest of vit-export."
        raise RequestError(message, "give a file that vit-export wrote.")
    return Manifest.from_json(text, str(path))
