"""The two pickles of a TorchScript file: its object, and the shapes of its tensors.

LibTorch has a reader of pickles of its own. It calls what a pickle names, and takes a tensor's size
on trust. Here the same pickles are read with every name and number checked, and nothing is called.
"""

import io
import pickle
import pickletools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, NoReturn, cast

from vit_export.backends.torchscript.archive import refuse

OBJECT_OPCODES = {
    *("PROTO", "GLOBAL", "BINPUT", "EMPTY_TUPLE", "NEWOBJ", "EMPTY_DICT"),
    *("MARK", "SETITEMS", "BUILD", "STOP"),
}
"""The opcodes of a frozen module, which has no attributes: `Class()` with an empty state."""
CONSTANT_OPCODES = {
    *("PROTO", "MARK", "GLOBAL", "TUPLE", "EMPTY_TUPLE", "REDUCE", "BINPERSID", "STOP"),
    *("BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET"),
    *("BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "NEWFALSE"),
}
CLASS = re.compile(r"__torch__(?!\.torch\b)(\.[A-Za-z]\w*)* [A-Za-z]\w*", re.ASCII)
ITEM_BYTES = {
    **dict.fromkeys(("BoolStorage", "ByteStorage", "CharStorage"), 1),
    **dict.fromkeys(("BFloat16Storage", "HalfStorage", "ShortStorage"), 2),
    **dict.fromkeys(("FloatStorage", "IntStorage"), 4),
    **dict.fromkeys(("DoubleStorage", "LongStorage"), 8),
}
"""Size of one number in bytes, by the name of its storage in `torch`."""


def check_object(path: Path, content: bytes) -> None:
    """Raise RequestError unless a pickle is one object of a TorchScript class without a state."""
    for name, argument in _list_opcodes(path, content, OBJECT_OPCODES):
        if name == "GLOBAL" and not CLASS.fullmatch(cast("str", argument)):
            raise refuse(path, f"its object is of {argument!r}")


def check_constants(path: Path, content: bytes, sizes: Mapping[str, int]) -> None:
    """Raise RequestError unless a pickle is a tuple of tensors, each inside its own record.

    `sizes` has the size in bytes of every record of the archive.
    """
    _list_opcodes(path, content, CONSTANT_OPCODES)
    try:
        tensors = _ConstantReader(io.BytesIO(content)).load()
    except Exception as error:  # noqa: BLE001 a crafted pickle makes its reader raise anything
        raise refuse(path, f"its constants are no tensors ({error})") from None
    if not isinstance(tensors, tuple) or not all(isinstance(one, _Tensor) for one in tensors):
        raise refuse(path, "its constants are no tensors")
    for one in tensors:
        if not one.is_inside(sizes):
            raise refuse(path, "a tensor is larger than its record")


def _list_opcodes(path: Path, content: bytes, known: set[str]) -> list[tuple[str, object]]:
    """Return the opcodes of a pickle with their arguments; raise RequestError for other ones."""
    try:
        opcodes = list(pickletools.genops(content))
    except ValueError as error:
        raise refuse(path, f"a pickle inside is damaged ({error})") from None
    for opcode, _, _ in opcodes:
        if opcode.name not in known:
            raise refuse(path, f"a pickle inside has {opcode.name}")
    if opcodes[-1][2] != len(content) - 1:
        raise refuse(path, "a pickle inside goes on behind its end")
    return [(opcode.name, argument) for opcode, argument, _ in opcodes]


@dataclass(frozen=True)
class _Storage:
    """The numbers of a tensor: a record of the archive."""

    kind: str
    key: str
    count: int

    def fits(self, sizes: Mapping[str, int]) -> bool:
        """Return whether the record has as many bytes as these numbers."""
        item = ITEM_BYTES.get(self.kind)
        return item is not None and sizes.get(f"constants/{self.key}") == self.count * item


@dataclass(frozen=True)
class _Tensor:
    """A tensor's place in a storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def is_inside(self, sizes: Mapping[str, int]) -> bool:
        """Return whether every number of the tensor is in its record."""
        numbers = (self.offset, *self.shape, *self.strides)
        if min(numbers) < 0 or len(self.shape) != len(self.strides):
            return False
        pairs = zip(self.shape, self.strides, strict=True)
        last = self.offset + sum((side - 1) * stride for side, stride in pairs)
        holds_all = not prod(self.shape) or last < self.storage.count
        return holds_all and self.storage.fits(sizes)


class _ConstantReader(pickle.Unpickler):
    """Reads the pickle of constants; the names in it stand for functions of this module."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for one of three names; no other name is known."""
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _make_tensor
        if (module, name) == ("collections", "OrderedDict"):
            return tuple  # the backward hooks of a tensor: there are none
        if module == "torch" and name in ITEM_BYTES:
            return name
        return _refuse_name(module, name)

    def persistent_load(self, pid: Any) -> _Storage:
        """Return the storage that a pickle refers to."""
        label, kind, key, device, count = pid
        texts = (label, kind, key, device)
        if label != "storage" or device != "cpu" or not all(isinstance(t, str) for t in texts):
            raise ValueError("a storage is elsewhere")
        return _Storage(kind, key, int(count))


def _make_tensor(  # noqa: PLR0917 the order is that of the pickle
    storage: _Storage,
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    requires_grad: bool,  # noqa: FBT001 as above
    hooks: tuple[()],
) -> _Tensor:
    if requires_grad or hooks or not isinstance(storage, _Storage):
        raise ValueError("a tensor has more than numbers")
    if not all(isinstance(number, int) for number in (offset, *shape, *strides)):
        raise ValueError("a size is no number")
    return _Tensor(storage, offset, shape, strides)


def _refuse_name(module: str, name: str) -> NoReturn:
    raise ValueError(f"{module}.{name} is named")
