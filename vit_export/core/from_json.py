"""JSON values to typed records: every field is checked, and an error names the field."""

import sys
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, NoReturn, TypeVar, cast, get_args, get_origin, get_type_hints

from vit_export.core import dataclass_checks
from vit_export.core.errors import RequestError

Record = TypeVar("Record")
LARGEST = sys.float_info.max
"""Larger whole numbers are no float."""
TYPE_NAMES = {**dataclass_checks.TYPE_NAMES, float: "a finite number"}
"""How errors name a type."""


def read_record(kind: type[Record], value: object, where: str) -> Record:
    """The dataclass `kind` with the fields of a JSON object, each of them checked.

    Lists become tuples. Numbers have to be finite. A field whose annotation is a dataclass is read
    in the same way.

    Args:
        kind: a dataclass; its annotations say what each field may hold.
        value: the JSON value.
        where: place of the value, for errors: `vit.onnx: tolerance`.

    Raises:
        RequestError: the value is no JSON object, or a field is unknown, missing or of another
            type; the message names the field.
    """
    if not isinstance(value, Mapping):
        _refuse(where, value, "an object")
    known = {field.name: field for field in fields(cast("Any", kind))}
    for name in value:
        if name not in known:
            raise RequestError(f"{where}.{name} is unknown.", "export the model again.")
    types = get_type_hints(kind)
    values = {}
    for name, field in known.items():
        if name in value:
            values[name] = read_value(types[name], value[name], f"{where}.{name}")
        elif field.default is MISSING and field.default_factory is MISSING:
            raise RequestError(f"{where}.{name} is missing.", "export the model again.")
    try:
        return kind(**values)
    except RequestError as error:  # a check of the dataclass's own
        raise RequestError(f"{where}: {error.message}", error.fix) from None


def read_value(kind: Any, value: object, where: str) -> Any:
    """`value` as the type that an annotation names.

    It reads plain types, Literal, unions, tuples, `Mapping[str, ...]` and dataclasses.

    Raises:
        RequestError: the value is of another type; the message names `where`.
    """
    origin, parts = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        return read_record(cast("type", kind), value, where)
    if origin is tuple:
        return _read_tuple(parts, value, where)
    if origin is UnionType:
        return _read_union(parts, value, where)
    if isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(value, Mapping):
        return {str(k): read_value(parts[1], one, f"{where}.{k}") for k, one in value.items()}
    if kind is not Any and not _is_a(kind, value):
        _refuse(where, value, _describe_type(kind))
    return value


def _is_a(kind: Any, value: object) -> bool:
    """Whether the value is one of a Literal's values, or an instance of a plain type."""
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    return get_origin(kind) is None and _is_plain(kind, value)


def _is_plain(kind: Any, value: object) -> bool:
    if kind in {NoneType, None}:
        return value is None
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    if kind is float:
        return isinstance(value, int | float) and -LARGEST <= value <= LARGEST  # no NaN either
    return isinstance(value, kind)


def _read_union(parts: tuple[Any, ...], value: object, where: str) -> Any:
    if value is None and NoneType in parts:
        return None
    for part in parts:
        try:
            return read_value(part, value, where)
        except RequestError:
            continue
    options = [part for part in parts if part is not NoneType]
    if len(options) == 1:
        return read_value(options[0], value, where)  # its error names the field inside
    return _refuse(where, value, " or ".join(map(_describe_type, options)))


def _read_tuple(parts: tuple[Any, ...], value: object, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        _refuse(where, value, "a list")
    kinds = (parts[0],) * len(value) if parts[-1] is Ellipsis else parts
    if len(kinds) != len(value):
        _refuse(where, value, f"a list of {len(kinds)}")
    pairs = enumerate(zip(kinds, value, strict=True))
    return tuple(read_value(kind, one, f"{where}[{i}]") for i, (kind, one) in pairs)


def _describe_type(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(map(repr, get_args(kind)))
    origin = get_origin(kind)
    if origin is tuple:
        return "a list"
    return TYPE_NAMES.get(kind, "an object")


def _refuse(where: str, value: object, expected: str) -> NoReturn:
    text = repr(value)
    shown = text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 fits a line
    raise RequestError(f"{where} is {shown}, not {expected}.", "export the model again.")
