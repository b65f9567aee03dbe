"""The tensors of a TorchScript archive, such as OpenAI's own CLIP, read without running it.

Such a file is a program: `torch.jit.load` may execute anything. But its object is a pickle of
attributes by name, and its numbers are records as those of torch.save. So the object and the
numbers are copied into an archive without the program, which torch's `weights_only` reader reads.
"""

import io
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from vit_export.core.errors import RequestError

PROGRAM = "__torch__."
"""What the names of classes in a TorchScript program begin with."""
LISTS = ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist")
MAX_BYTES = 4 << 30
"""Most bytes of the numbers, which are copied; the largest CLIP has 1.7 GB."""
VERSION = "3\n"
"""The version of archives that torch.save writes."""
MAX_DEPTH = 64
"""Most nested modules."""


class Attributes(dict[str, Any]):
    """The attributes of an object in a TorchScript archive."""

    def __new__(cls, *_: Any) -> Self:
        """Return an object without attributes."""
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        """Take the attributes of the object."""
        if isinstance(state, dict):
            self.update(state)


def read_list(values: Any) -> Any:
    """Return a list as it is: TorchScript wraps it in a call that names its type."""
    return values


def find_program_stand_ins(names: Iterable[str]) -> dict[str, Any]:
    """Return the names of a program's classes and lists, with what stands for them."""
    classes = {name: Attributes for name in names if name.startswith(PROGRAM)}
    return {**classes, **{f"torch.jit._pickle.{name}": read_list for name in LISTS}}


def copy_without_program(path: Path) -> io.BytesIO:
    """Return an archive with the object and the numbers of a TorchScript archive.

    Raises:
        RequestError: the numbers are too large for a copy.
    """
    copy = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(copy, "w") as plain:
        records = {one.filename.partition("/")[2]: one for one in archive.infolist()}
        numbers = {
            name: record
            for name, record in records.items()
            if name in {"data.pkl", "byteorder"} or name.startswith("data/")
        }
        if sum(record.file_size for record in numbers.values()) > MAX_BYTES:
            message = f"{path} is a TorchScript archive of more than {MAX_BYTES:,} bytes."
            fix = "torch.save(torch.jit.load(FILE).state_dict(), 'weights.pth')."
            raise RequestError(message, f"if you trust its origin, extract the weights: {fix}")
        plain.writestr("archive/version", VERSION)
        for name, record in numbers.items():
            plain.writestr(f"archive/{name}", archive.read(record))
    copy.seek(0)
    return copy


def list_tensors(content: object) -> dict[str, Tensor]:
    """Return the tensors among the attributes of nested modules, by their names in a state dict."""
    tensors: dict[str, Tensor] = {}
    _collect(content, "", tensors, MAX_DEPTH)
    return tensors


def _collect(content: object, path: str, tensors: dict[str, Tensor], depth: int) -> None:
    if isinstance(content, Tensor):
        tensors[path] = content
    elif isinstance(content, Mapping) and depth:
        for name, value in content.items():
            _collect(value, f"{path}.{name}" if path else str(name), tensors, depth - 1)
