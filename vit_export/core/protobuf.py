"""Reading of protobuf messages without their schema: fields by number, nothing copied.

The encoding is that of https://protobuf.dev/programming-guides/encoding.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap

VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5
SIZES = {FIXED64: 8, FIXED32: 4}
SEVEN_BITS, MORE_FOLLOWS, MAX_SHIFT = 0x7F, 0x80, 63


@dataclass(frozen=True)
class Message:
    """The bytes `start` to `end` of a file."""

    file: mmap
    start: int
    end: int

    def fields(self) -> Iterator[tuple[int, "int | Message"]]:
        """Yield each field's number with its value: a whole number, or a message inside.

        Text and bytes count as messages. Numbers of fixed size are left out.

        Raises:
            ValueError: the bytes are no message.
        """
        position = self.start
        while position < self.end:
            key, position = self._read_varint(position)
            number, kind = key >> 3, key & 7
            if kind == VARINT:
                value, position = self._read_varint(position)
                yield number, value
            elif kind == LENGTH_DELIMITED:
                size, position = self._read_varint(position)
                position = self._skip(position, size)
                yield number, Message(self.file, position - size, position)
            elif kind in SIZES:
                position = self._skip(position, SIZES[kind])
            else:
                raise ValueError(f"unknown wire type {kind}")

    def messages(self, number: int) -> "Iterator[Message]":
        """Yield the messages in the fields of this number."""
        for found, value in self.fields():
            if found == number and isinstance(value, Message):
                yield value

    def text(self) -> str:
        """The bytes as text.

        Raises:
            ValueError: they are not UTF-8.
        """
        return self.file[self.start : self.end].decode("utf-8")

    def _skip(self, position: int, size: int) -> int:
        if position + size > self.end:
            raise ValueError("a field is longer than its message")
        return position + size

    def _read_varint(self, position: int) -> tuple[int, int]:
        """Return the number at a position, and the position behind it."""
        value = 0
        for shift in range(0, MAX_SHIFT + 1, 7):
            if position >= self.end:
                break
            byte = self.file[position]
            position += 1
            value |= (byte & SEVEN_BITS) << shift
            if byte < MORE_FOLLOWS:
                return value, position
        raise ValueError("a number does not end")
