"""Export vision models from PyTorch to the file that a device runs, and prove that file.

Every command has a function of the same name here: one per backend (`onnx`, `torchscript`, `trt`),
`predict`, `validate`, `locate`, `bench`, `cpp`, `inspect`, `summary`, `models`, `doctor`,
`emulate`. `register_exporter` adds a format to transformers' own exporters. They load on first use,
so that importing this package is cheap. `__init__.pyi` has their signatures for type checkers and
editors; `scripts/stubs` writes it.
"""

import os
from importlib import import_module
from typing import Any

from vit_export.core.memory_limit import check_memory_limit

check_memory_limit()  # before the first import of NumPy

from vit_export.backends import BACKENDS  # noqa: E402
from vit_export.core.errors import (  # noqa: E402
    BuildError,
    MissingError,
    ProofError,
    RequestError,
    VitExportError,
)
from vit_export.model.vit.rotary import Rotary  # noqa: E402
from vit_export.model.vit.spec import VitSpec  # noqa: E402

__all__ = [
    "BuildError",
    "MissingError",
    "ProofError",
    "RequestError",
    "Rotary",
    "VitExportError",
    "VitSpec",
    "bench",
    "cpp",
    "doctor",
    "emulate",
    "inspect",
    "locate",
    "models",
    "predict",
    "register_exporter",
    "summary",
    "validate",
]
__all__ += list(BACKENDS)


# ONNX Runtime reads it at its first import. From 1.29 on it writes a device id into the user's
# cache and looks for a host of Microsoft's. Whoever set the variable keeps the choice.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# An import of the folder `bench` sets it as an attribute of this package, where it would hide the
# function of the same name. Python does that once, so it is done and undone here.
import_module("vit_export.bench")
globals().pop("bench")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    function = getattr(import_module("vit_export.api"), name)
    globals()[name] = function
    return function


def __dir__() -> list[str]:
    return sorted(__all__)
