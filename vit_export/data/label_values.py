"""Class names from the shapes in which JSON and Python hold them, and what a name may hold."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vit_export.core.errors import RequestError

WRAPPERS = ("id2label", "label2id", "class_to_idx", "idx_to_class", "names", "categories")
"""Keys of an object that holds the names among other things."""
FIX = "give one name per line, or a JSON list of names."
WORDNET_ID = re.compile(r"n\d{8}")
NOT_IN_A_LINE = {"Cc", "Zl", "Zp", "Cs"}
"""Unicode categories: control characters, line and paragraph separators, half characters."""
MAX_QUOTE = 60
"""Characters of a value that an error repeats."""


def parse_names(value: Any, where: str) -> list[str]:
    """Return class names in the order of their classes; a class without a name has an empty one.

    `value` is a list of names, an object from index to name or from name to index, a list of
    objects with a `name`, or an object that holds one of these, such as a config.json. An entry
    may be a pair of WordNet id and name, as in imagenet_class_index.json.

    Args:
        value: content of a file.
        where: the file, for errors.

    Raises:
        RequestError: the value has another shape.
    """
    value = _unwrap(value)
    if isinstance(value, Mapping):
        return _parse_mapping(value, where)
    if not isinstance(value, list | tuple):
        raise RequestError(f"{where} holds neither a list nor an object of names.", FIX)
    if value and all(isinstance(entry, Mapping) for entry in value):
        value = _sort_objects(value, where)
    return [_parse_name(entry, i, where) for i, entry in enumerate(value)]


def check_names(names: Iterable[str], where: str) -> None:
    """Raise RequestError unless each name is one line of text without control characters.

    Names stand in files of one name per line, in C++ projects, and on terminals.
    """
    for index, name in enumerate(names):
        for character in name:
            if unicodedata.category(character) in NOT_IN_A_LINE:
                message = f"{where}: the name of class {index}, {quote(name)}, holds U+"
                message += f"{ord(character):04X}, which is no character of a line."
                raise RequestError(message, "name each class in one line of plain text.")


def quote(value: object) -> str:
    """Return a value as errors show it: in ASCII where it is not printable, and not too long."""
    text = repr(value)
    return text if len(text) <= MAX_QUOTE else text[:MAX_QUOTE] + "…"


def _unwrap(value: Any) -> Any:
    if isinstance(value, Mapping):
        for key in WRAPPERS:
            if isinstance(value.get(key), Mapping | list):
                return value[key]
    return value


def _parse_mapping(table: Mapping[Any, Any], where: str) -> list[str]:
    keys_are_indices = all(re.fullmatch(r"\d{1,9}", str(key)) for key in table)
    values_are_indices = all(_is_index(value) for value in table.values())
    if keys_are_indices and values_are_indices:
        if any(int(key) != value for key, value in table.items()):
            message = f"{where}: keys and values are numbers, and either could be the classes."
            raise RequestError(message, FIX)
    elif values_are_indices:
        return _invert(table, where)
    elif not keys_are_indices:
        key = next(key for key in table if not re.fullmatch(r"\d{1,9}", str(key)))
        message = f"{where}: {quote(key)} is no index of a class, and its value is no index either."
        raise RequestError(message, FIX)
    entries = {int(key): value for key, value in table.items()}
    return [_parse_name(entries.get(i, ""), i, where) for i in range(len(entries))]


def _is_index(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _invert(table: Mapping[Any, int], where: str) -> list[str]:
    """Return the names of an object from name to index."""
    names: dict[int, str] = {}
    for name, index in table.items():
        if index in names:
            message = f"{where}: {quote(names[index])} and {quote(name)} both have index {index}."
            raise RequestError(message, "give every class an index of its own.")
        names[index] = str(name)
    return [names.get(i, "") for i in range(len(names))]


def _sort_objects(objects: Sequence[Mapping[str, Any]], where: str) -> list[Any]:
    """Return the names of objects, ordered by their ids if they have any."""
    names = [one.get("name", one.get("label")) for one in objects]
    if not any("id" in one for one in objects):
        return names
    ids: list[Any] = [one.get("id") for one in objects]
    if not all(map(_is_index, ids)) or sorted(ids) != list(range(len(ids))):
        message = f"{where}: the ids {quote(ids)} are not 0 to {len(ids) - 1}."
        raise RequestError(message, FIX)
    by_id = dict(zip(ids, names, strict=True))
    return [by_id[i] for i in range(len(ids))]


def _parse_name(entry: Any, index: int, where: str) -> str:
    if isinstance(entry, list | tuple) and len(entry) == len(("WordNet id", "name")):
        identifier, name = entry
        if isinstance(name, str) and WORDNET_ID.fullmatch(str(identifier)):
            return name
    if isinstance(entry, Mapping):
        entry = entry.get("name", entry)
    if isinstance(entry, str) or _is_index(entry):
        return str(entry)
    raise RequestError(f"{where}: class {index} is {quote(entry)}, which is no name.", FIX)
