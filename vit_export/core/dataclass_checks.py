"""Checks of a dataclass's fields against their annotations, for values from TOML or JSON."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from vit_export.core.errors import RequestError, did_you_mean

TYPE_NAMES = {
    bool: "true or false",
    float: "a number",
    int: "a whole number",
    str: "text",
    type(None): "nothing",
}
"""How errors name a type."""


def check_names(values: Mapping[str, Any], kind: type, where: str) -> None:
    """Raise RequestError unless every key of `values` is a field of the dataclass `kind`.

    The message names `where`, the origin of the values.
    """
    known = {field.name for field in fields(kind)}
    for name in values:
        if name not in known:
            raise RequestError(f"{where}: unknown key {name!r}.", did_you_mean(name, known))


def check_types(instance: Any) -> None:
    """Raise RequestError unless every field of the dataclass `instance` has its annotated type."""
    expected = get_type_hints(type(instance))
    for field in fields(instance):
        value = getattr(instance, field.name)
        if not _is_a(value, expected[field.name]):
            raise RequestError(f"{field.name} is {value!r}.", _fix(field.name, value, expected))


def _fix(name: str, value: object, expected: Mapping[str, Any]) -> str:
    known = get_args(expected[name])
    if get_origin(expected[name]) is Literal and isinstance(value, str):
        return did_you_mean(value, known)
    return f"give {name} as {_describe_type(expected[name])}."


def _describe_type(expected: Any) -> str:
    parts = get_args(expected)
    if get_origin(expected) is tuple:
        length = "several" if parts[-1] is Ellipsis else str(len(parts))
        return f"a list of {length}, each {_describe_type(parts[0])}"
    if parts:
        return " or ".join(repr(p) if isinstance(p, str) else _describe_type(p) for p in parts)
    return "a table of its fields" if is_dataclass(expected) else TYPE_NAMES[expected]


def _is_a(value: object, expected: Any) -> bool:
    origin, parts = get_origin(expected), get_args(expected)
    if origin is Literal:
        return value in parts
    if origin is UnionType:
        return any(_is_a(value, one) for one in parts)
    if origin is tuple and isinstance(value, tuple):
        kinds = (parts[0],) * len(value) if parts[-1] is Ellipsis else parts
        return len(value) == len(kinds) and all(map(_is_a, value, kinds))
    if expected in (int, float):
        allowed = int if expected is int else int | float
        return isinstance(value, allowed) and not isinstance(value, bool)
    return isinstance(value, origin or expected)
