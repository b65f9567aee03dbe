"""One capture of each module for all tests: torch.onnx takes a second even for a tiny model.

The exporter's answer depends on the module's classes, attributes and shapes, on the example and on
the options, and not on weights. The first test that exports a module pays for it, and the others
read the graph that it wrote down. Commands that run in a process of their own capture themselves.
"""

import hashlib
import io
import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import onnx_ir as ir
import torch


class Fingerprint(pickle.Pickler):
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


def fingerprint(*values: object) -> str:
    """The hash of `values`, the same in every process."""
    file = io.BytesIO()
    Fingerprint(file).dump(values)
    return hashlib.sha256(file.getvalue()).hexdigest()


class CapturedGraphs:
    """Stands in for `torch.onnx.export` and keeps its graphs in `folder`."""

    def __init__(self, export: Callable[..., Any], folder: Path) -> None:
        self._export = export
        self._folder = folder

    def __call__(self, module: Any, example: Any, *rest: Any, **options: Any) -> Any:
        if rest or "custom_translation_table" not in options:
            return self._export(module, example, *rest, **options)  # a baseline of bench
        path = self._folder / f"{fingerprint(module, example, options)}.onnx"
        if not path.exists():
            self._write(self._export(module, example, **options), path)
        return SimpleNamespace(model=ir.load(path))

    def _write(self, program: Any, path: Path) -> None:
        self._folder.mkdir(exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        ir.save(program.model, unfinished)
        unfinished.rename(path)


@contextmanager
def shared_captures(folder: Path) -> Iterator[None]:
    """Keep each graph that torch.onnx captures in `folder`, and read it from there again."""
    with mock.patch.object(torch.onnx, "export", CapturedGraphs(torch.onnx.export, folder)):
        yield
