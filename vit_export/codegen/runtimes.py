"""The C++ runtimes of model files, one folder of templates for each backend that has one."""

import tomllib
from dataclasses import dataclass
from importlib.resources import files

from vit_export.backends import BACKENDS
from vit_export.core.errors import RequestError

TEMPLATES = files("vit_export") / "codegen" / "templates"
RUNTIME_FILE = "runtime.toml"


@dataclass(frozen=True, kw_only=True)
class CppRuntime:
    """What a project has to know about its runtime."""

    name: str
    """The runtime's own name."""
    library: str
    """What CMake links."""
    flag: str
    """The CMake flag that says where the runtime is."""
    includes: str
    """Lines of C++."""
    folder: str
    """An example of where the runtime is on Linux."""
    windows: str
    """An example of where the runtime is on Windows."""


def load_runtime(backend: str) -> CppRuntime:
    """Return the C++ runtime for the files of a backend.

    Raises:
        RequestError: there are no C++ templates for it.
    """
    path = TEMPLATES / backend / RUNTIME_FILE
    if backend not in BACKENDS or not path.is_file():
        names = [name for name in BACKENDS if (TEMPLATES / name / RUNTIME_FILE).is_file()]
        raise RequestError(f"There is no C++ for {backend}.", f"export for {' or '.join(names)}.")
    return CppRuntime(**tomllib.loads(path.read_text(encoding="utf-8")))
