"""The backends, in the order in which they are listed. A new one is a folder and a line here."""

from vit_export.backends.base import Backend
from vit_export.backends.onnx.backend import ONNX
from vit_export.backends.tensorrt.backend import TENSORRT
from vit_export.backends.torchscript.backend import TORCHSCRIPT
from vit_export.core.errors import MissingError, RequestError, did_you_mean

BACKENDS: dict[str, Backend] = {
    backend.name: backend
    for backend in (
        ONNX,
        TORCHSCRIPT,
        TENSORRT,
    )
}
"""By name. A backend whose format is a special case of another's stands after that one."""


def find_backend(name: str) -> Backend:
    """Return the backend called `name`.

    Raises:
        RequestError: there is none of that name.
    """
    if name not in BACKENDS:
        raise RequestError(f"There is no target {name!r}.", did_you_mean(name, BACKENDS))
    return BACKENDS[name]


def find_installed_backend(name: str) -> Backend:
    """Return the backend called `name`, ready to build.

    Raises:
        RequestError: there is none of that name.
        MissingError: a package that it needs is not installed.
    """
    backend = find_backend(name)
    missing = backend.missing_packages()
    if missing:
        message = f"{name} needs {', '.join(missing)}."
        raise MissingError(message, f"pip install {' '.join(missing)}")
    return backend
