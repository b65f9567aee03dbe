"""Class names from a file: one per line, JSON, or what Python prints of a list or dictionary."""

import ast
import json
import re
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from vit_export.core.errors import RequestError
from vit_export.data.label_values import FIX, check_names, parse_names, quote
from vit_export.data.text_file import read_text

MAX_LABEL_BYTES = 2**22
"""4 MiB: the 21,841 classes of ImageNet need less than one."""
MAX_LITERAL = 2**20
"""Characters of a list as Python prints it: to parse one takes up to 500 times its size."""
INDEXED = re.compile(r"(\d{1,9})\s*:\s+(?P<name>\S.*?)\s*,?")
"""A line such as `0: 'tench',` or `0: tench`."""
QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")


def read_labels(path: Path, classes: int) -> tuple[str, ...]:
    """Return the names of all `classes` from a file.

    The file has one name per line, or lines such as `0: 'tench',`, or JSON (see `parse_names`), or
    a list or dictionary as Python prints it. Blank lines at the end are ignored.

    Raises:
        RequestError: the file can't be read, has another form or encoding, does not name every
            class, or a name is not one line of text.
    """
    text = read_text(path, MAX_LABEL_BYTES)
    value = _parse_value(text)
    if value is None and path.suffix.lower() == ".json":
        raise RequestError(f"{path} can't be read: {_find_json_error(text)}.", "give text or JSON.")
    names = _parse_lines(text, str(path)) if value is None else parse_names(value, str(path))
    if len(names) != classes or not all(names):
        count = len([name for name in names if name])
        message = f"{path} does not name {classes} classes, but {count}"
        message += f": {quote(names[0])} to {quote(names[-1])}." if any(names) else "."
        raise RequestError(message, "give one line per class.")
    check_names(names, str(path))
    return tuple(names)


def _parse_value(text: str) -> Any:
    """Return the list or the object in JSON or Python's own notation; None for other text."""
    if not text.lstrip().startswith(("[", "{", "(")):
        return None
    with suppress(ValueError, RecursionError):
        return json.loads(text)
    return _evaluate(text.strip()) if len(text) <= MAX_LITERAL else None


def _evaluate(literal: str) -> Any:
    """Return the value of a literal of Python; None for other text."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes such as "\d"
            return ast.literal_eval(literal)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None


def _find_json_error(text: str) -> str:
    try:
        json.loads(text)
    except RecursionError:
        return "it is nested too deeply"
    except ValueError as error:
        return str(error)
    return "it holds neither a list nor an object"


def _parse_lines(text: str, where: str) -> list[str]:
    lines = [line.strip() for line in text.rstrip().split("\n")]
    if "" in lines and text.strip():
        message = f"{where} line {lines.index('') + 1} is empty."
        raise RequestError(message, "give one line per class.")
    matches = [INDEXED.fullmatch(line) for line in lines]
    if all(matches):
        return parse_names({match[1]: _unquote(match["name"]) for match in matches if match}, where)
    if matches.count(None) < len(lines) / 2:
        at = matches.index(None)
        message = f"{where} line {at + 1}, {quote(lines[at])}, has no index, and other lines have."
        raise RequestError(message, FIX)
    return lines


def _unquote(name: str) -> str:
    text = _evaluate(name) if QUOTED.fullmatch(name) else None
    return name if text is None else str(text)
