"""One capture of each module for all tests: torch.onnx takes seconds even for a tiny model.

The exporter's answer depends on the module's classes, attributes and shapes, on the example and the
options, on the code of all these, and not on weights. The first test that exports a module pays for
it; the others read the graph that it wrote into pytest's cache, in later runs too. Commands that
run in a process of their own capture for themselves.
"""

import hashlib
import inspect
import io
import os
import pickle
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import onnx_ir as ir
import torch
from support import ROOT

PACKAGES = ("torch", "onnxscript", "onnx_ir", "onnx", "timm", "transformers")
CODE = (
    *(ROOT / "vit_export" / "model").rglob("*.py"),
    *(ROOT / "vit_export" / "graph" / name for name in ("capture.py", "translations.py")),
)
"""What a graph depends on besides the classes of its module."""


class CapturedGraphs:
    """Stands in for `torch.onnx.export` and keeps its graphs in `folder`."""

    def __init__(self, export: Callable[..., Any], folder: Path) -> None:
        self._export = export
        self._folder = folder

    def __call__(self, module: Any, *positional: Any, **options: Any) -> Any:
        # a baseline of bench and other tools have a file or no example, a program has its weights
        is_ours = len(positional) == 1 and "custom_translation_table" in options
        if not is_ours or isinstance(module, torch.export.ExportedProgram):
            return self._export(module, *positional, **options)
        (example,) = positional
        path = self._folder / f"{fingerprint(module, example, options)}.onnx"
        if not path.exists():
            self._write(self._export(module, example, **options), path)
        return SimpleNamespace(model=ir.load(path))

    def _write(self, program: Any, path: Path) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        ir.save(program.model, unfinished)
        unfinished.rename(path)


@contextmanager
def shared_captures(folder: Path) -> Iterator[None]:
    """Keep each graph that torch.onnx captures in `folder`, and read it from there again."""
    with mock.patch.object(torch.onnx, "export", CapturedGraphs(torch.onnx.export, folder)):
        yield


def fingerprint(module: torch.nn.Module, *values: object) -> str:
    """The hash of a module and other values, the same in every process."""
    file = io.BytesIO()
    Pickler(file).dump((module, *values))
    classes = {inspect.getfile(type(one)) for one in module.modules()}
    return hash_of(file.getvalue(), own_code().encode(), *read_all(classes)).hexdigest()


class Pickler(pickle.Pickler):
    """Writes objects by value; a tensor is its number, shape and type, an operator its name."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self._numbers: dict[int, int] = {}

    def persistent_id(self, value: object) -> object:
        if isinstance(value, torch._ops.OpOverload):  # noqa: SLF001 has no public name
            return str(value)
        if not isinstance(value, torch.Tensor):
            return None
        number = self._numbers.setdefault(id(value), len(self._numbers))
        return number, tuple(value.shape), str(value.dtype)


@cache
def own_code() -> str:
    """The hash of the code that captures, and of the versions of what it calls."""
    return hash_of(*read_all(CODE), *(version(name).encode() for name in PACKAGES)).hexdigest()


def read_all(paths: Iterable[str | Path]) -> list[bytes]:
    return [Path(path).read_bytes() for path in sorted(paths, key=str)]


def hash_of(*parts: bytes) -> Any:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(hashlib.sha256(part).digest())
    return whole
