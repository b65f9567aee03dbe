"""Damage to files, drawn at random: to bytes, fields of ONNX, records, words and values."""

import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile, ZipInfo

import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

SIZES = (1, 4, 64, 1024)
LARGE = 2**63 - 1
WHOLE_NUMBERS = (0, 1, -1, 2, 3, 7, 2**31 - 1, 2**31, -(2**31), 2**40, 2**62, -LARGE, LARGE)
FLOATS = (0.0, -1.0, float("nan"), float("inf"), 1e30)
TEXTS = ("", "x", "image", "Add", "Loop", "If", "Reshape", "../x", "a" * 5000, "\x1b[2J", "é")
WORDS = (b"0", b"-1", b"9223372036854775807", b"1e308", b"None", b"[]", b"()", b"", b"forward")
WORD = re.compile(rb"[A-Za-z_][\w.]*|-?[0-9][0-9.e+-]*|[\[\](),:=]")
VALUES = (None, True, 0, -1, 1.5, 10**30, 1e308, "", "text", "\x1b[2J", [], [1], ["a"], [[]], {})
TOML_VALUES = (
    *("0", "-1", "1e30", "nan", "inf", "true", '"x"', "[]", "[1]", "{}", "{a = 1}", "0.5", "2"),
    *("9223372036854775807", "99999999999999999999", "1979-05-27", "'''a\nb'''", "[[1], [2]]"),
    *("[nan, nan, nan]", "[1e-300, 1, 1]", r'"\u0000"', r'"\u001b[2J"', '"../x"', "[0, 0, 0]"),
)


def flip(content: bytes, draw: random.Random) -> bytes:
    """Change up to eight bytes."""
    changed = bytearray(content)
    for _ in range(draw.randint(1, 8)):
        changed[choose_position(content, draw)] ^= draw.randint(1, 255)
    return bytes(changed)


def cut(content: bytes, draw: random.Random) -> bytes:
    return content[: choose_position(content, draw)]


def exchange(content: bytes, draw: random.Random) -> bytes:
    """Exchange two blocks of the same size."""
    size = draw.randint(1, max(len(content) // 3, 1))
    first = draw.randint(0, max(len(content) - 2 * size, 0))
    second = draw.randint(first + size, max(len(content) - size, first + size))
    one, other = content[first : first + size], content[second : second + size]
    between = content[first + size : second]
    return content[:first] + other + between + one + content[second + size :]


def clear(content: bytes, draw: random.Random) -> bytes:
    """Put zeros into a range."""
    start = choose_position(content, draw)
    size = min(draw.choice(SIZES), len(content) - start)
    return content[:start] + bytes(size) + content[start + size :]


def insert(content: bytes, draw: random.Random) -> bytes:
    """Insert random bytes, or a piece of the file itself."""
    at, start = choose_position(content, draw), choose_position(content, draw)
    size = draw.choice(SIZES)
    return content[:at] + draw.choice((draw.randbytes(size), content[start:][:size])) + content[at:]


def remove(content: bytes, draw: random.Random) -> bytes:
    start = choose_position(content, draw)
    return content[:start] + content[start + draw.choice(SIZES) :]


BYTE_DAMAGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(flip, cut, exchange, clear, insert, remove),
)


def damage_bytes(content: bytes, draw: random.Random) -> bytes:
    return draw.choice(BYTE_DAMAGES)(content, draw) if content else b"\0"


def choose_position(content: bytes, draw: random.Random) -> int:
    """Return a position, half of the time in the head or the tail, where most structure is."""
    last, where = len(content) - 1, draw.random()
    if where < 0.3:
        return draw.randint(0, min(last, 200))
    return draw.randint(max(last - 2000, 0) if where < 0.5 else 0, last)


def replace_word(content: bytes, draw: random.Random) -> bytes:
    """Put another word in the place of one: text stays text."""
    words = list(WORD.finditer(content))
    if not words:
        return content
    old, other = draw.choice(words), draw.choice(words)
    return content[: old.start()] + draw.choice((other[0], *WORDS)) + content[old.end() :]


def damage_onnx(path: Path, out: Path, draw: random.Random) -> None:
    """Write an ONNX file in which one or two fields are others; the file itself is intact."""
    model = onnx.load(path, load_external_data=False)
    for _ in range(draw.randint(1, 2)):
        by_name: dict[str, list[tuple[Message, FieldDescriptor]]] = {}
        for message, field in list_fields(model):
            by_name.setdefault(field.full_name, []).append((message, field))
        change_field(*draw.choice(by_name[draw.choice(sorted(by_name))]), draw)
    out.write_bytes(model.SerializeToString())


def list_fields(message: Message) -> Iterator[tuple[Message, FieldDescriptor]]:
    for field, value in message.ListFields():
        yield message, field
        if field.message_type is not None:
            for one in value if field.is_repeated else [value]:
                yield from list_fields(one)


def change_field(message: Message, field: FieldDescriptor, draw: random.Random) -> None:
    value = getattr(message, field.name)
    action = draw.choice(("clear", "set", "set", "repeat", "delete"))
    if action == "clear":
        message.ClearField(field.name)
    elif not field.is_repeated:
        if field.message_type is None:
            setattr(message, field.name, choose_value(field, draw))
    elif action == "set" and field.message_type is None:
        value[draw.randrange(len(value))] = choose_value(field, draw)
    elif action == "repeat":
        value.extend([draw.choice(value)])
    else:
        del value[draw.randrange(len(value))]


def choose_value(field: FieldDescriptor, draw: random.Random) -> Any:
    if field.cpp_type == FieldDescriptor.CPPTYPE_INT64:
        return draw.choice(WHOLE_NUMBERS)
    if field.cpp_type == FieldDescriptor.CPPTYPE_INT32:
        return draw.choice([one for one in WHOLE_NUMBERS if abs(one) < 2**31])
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return draw.choice([one.number for one in field.enum_type.values])
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        is_text = field.type == FieldDescriptor.TYPE_STRING
        return draw.choice(TEXTS) if is_text else draw.randbytes(draw.choice(SIZES))
    return draw.choice(FLOATS) if field.cpp_type != FieldDescriptor.CPPTYPE_UINT64 else LARGE


def damage_archive(path: Path, out: Path, draw: random.Random) -> None:
    """Write an archive in which one record is another, or missing; the archive itself is intact."""
    with ZipFile(path) as source, ZipFile(out, "w") as copy:
        infos = source.infolist()
        texts = [one for one in infos if "/constants/" not in one.filename]
        hit = draw.choice(texts if draw.random() < 0.8 else infos)
        change = draw.choice((damage_bytes, replace_word, replace_word, None))
        for one in infos:
            content = source.read(one)
            if one is hit and change is None:
                continue
            content = change(content, draw) if one is hit else content
            copy.writestr(ZipInfo(one.filename), content)


def damage_json(content: bytes, draw: random.Random) -> bytes:
    """Give a field another value, or delete it; the text stays JSON."""
    values = json.loads(content)
    *outer, last = draw.choice(list(list_paths(values)))
    inner = values
    for key in outer:
        inner = inner[key]
    inner[last] = draw.choice(VALUES)
    if draw.random() < 0.2:
        del inner[last]
    return json.dumps(values).encode()


def list_paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The way to every field; of a list the first element stands for all."""
    if path:
        yield path
    pairs = value.items() if isinstance(value, dict) else ()
    pairs = enumerate(value[:1]) if isinstance(value, list) else pairs
    for key, one in pairs:
        yield from list_paths(one, (*path, key))


def damage_toml(content: bytes, draw: random.Random) -> bytes:
    """Give up to two keys another value; the text stays TOML, most of the time."""
    lines = content.decode().splitlines()
    for _ in range(draw.randint(1, 2)):
        i = draw.choice([i for i, line in enumerate(lines) if "=" in line])
        lines[i] = f"{lines[i].partition('=')[0]}= {draw.choice(TOML_VALUES)}"
    return "\n".join(lines).encode()
