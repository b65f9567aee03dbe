"""Messages between this process and an emulated one: fields and arrays, each message whole.

A frame is the length of its header in four bytes, the lowest first; the header in JSON; and the
bytes of its arrays, whose types and shapes stand in the header. `worker.mjs` writes the same.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt

LENGTH_BYTES = 4


@dataclass(frozen=True, eq=False)
class Frame:
    """One message."""

    fields: Mapping[str, Any]
    arrays: tuple[npt.NDArray[Any], ...]


def write_frame(
    stream: IO[bytes], fields: Mapping[str, Any], arrays: Sequence[npt.NDArray[Any]] = ()
) -> None:
    """Write one message and flush it."""
    described = [{"dtype": one.dtype.name, "shape": one.shape} for one in arrays]
    header = json.dumps({**fields, "arrays": described}).encode()
    stream.write(len(header).to_bytes(LENGTH_BYTES, "little") + header)
    stream.writelines(one.tobytes() for one in arrays)
    stream.flush()


def read_frame(stream: IO[bytes]) -> Frame:
    """Return the next message.

    Raises:
        EOFError: the other side ended first.
        ValueError: the bytes are no message.
    """
    length = int.from_bytes(_read(stream, LENGTH_BYTES), "little")
    fields = json.loads(_read(stream, length))
    arrays = tuple(_read_array(stream, **one) for one in fields.pop("arrays"))
    return Frame(fields, arrays)


def _read_array(stream: IO[bytes], dtype: str, shape: Sequence[int]) -> npt.NDArray[Any]:
    kind = np.dtype(dtype)
    data = _read(stream, math.prod(shape) * kind.itemsize)
    return np.frombuffer(data, kind).reshape(shape)


def _read(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data
