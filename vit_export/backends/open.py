"""Artifacts are opened by the backend that recognizes their content, whatever they are called."""

from pathlib import Path

from vit_export.artifact.manifest import Manifest
from vit_export.backends import BACKENDS
from vit_export.backends import session as sessions
from vit_export.backends.base import Backend
from vit_export.backends.openers import OpenTaps, OpenValues
from vit_export.backends.session import Session
from vit_export.core.errors import RequestError


def recognize(path: Path) -> Backend | None:
    """Return the backend of the file at `path`, by its content; None where none knows it.

    Later backends are asked first: a zip archive may be any TorchScript archive, or more narrowly
    a program of torch-tensorrt.
    """
    return next((one for one in reversed(BACKENDS.values()) if one.recognize(path)), None)


def find_backend_of(path: Path) -> Backend:
    """Return the backend of the artifact at `path`.

    Raises:
        RequestError: the file is missing, or no backend knows its content.
    """
    if not path.is_file():
        raise RequestError(f"{path}: no such artifact.", "check the path.")
    backend = recognize(path)
    if backend is None:
        *most, last = [one.title for one in BACKENDS.values()]
        message = f"{path} is no {', '.join(most)} or {last} file."
        raise RequestError(message, "give a file that vit-export wrote, or another ONNX file.")
    return backend


def open_artifact(path: Path, threads: int | None = None, *, trust: bool = False) -> Session:
    """Return a session on the artifact at `path` with that many threads (None: its default).

    `trust` says that code in the file may run, where its kind of file holds code.

    Raises:
        RequestError: the file is missing, cut off, or no artifact at all; or opening it would run
            code of its author's, and it is not trusted.
        NotHereError: it is whole, and cannot run on this machine.
        MissingError: its runtime is not installed.
    """
    backend = find_backend_of(path)
    danger = "" if trust else backend.find_danger(path)
    if danger:
        message = f"To open {path} runs {danger}."
        raise RequestError(message, "add --trust if you trust its author (trust=True in Python).")
    return backend.open(path, threads)


def read_manifest(session: Session, path: Path) -> Manifest:
    """Return the manifest of the artifact that `session` has open from `path`.

    Raises:
        RequestError: it carries none, or one that cannot be read or is for another kind of file.
    """
    return find_backend_of(path).check_target(sessions.read_manifest(session, path), path)


def require_taps(path: Path) -> OpenTaps:
    """Return what opens the artifact of a known family at `path` so that its modules answer too.

    Raises:
        RequestError: there is no such artifact, or what is inside its kind of file can't answer.
    """
    backend = find_backend_of(path)
    if backend.open_taps is None:
        raise _refuse_taps(backend, path)
    return backend.open_taps


def require_values(path: Path) -> OpenValues:
    """Return what opens the artifact of any module at `path` so that its values answer too.

    Raises:
        RequestError: as in `require_taps`.
    """
    backend = find_backend_of(path)
    if backend.open_values is None:
        raise _refuse_taps(backend, path)
    return backend.open_values


def _refuse_taps(backend: Backend, path: Path) -> RequestError:
    message = f"{path} is a {backend.title} file: its modules can't answer one by one."
    return RequestError(message, backend.locate_instead)
