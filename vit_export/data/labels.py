"""Class names: read from files, and looked up by name or index."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vit_export.core.errors import RequestError, did_you_mean


def read_labels(path: Path, classes: int) -> tuple[str, ...]:
    """Return the names of all `classes` from a file: one per line, or JSON (.json).

    JSON is a list, or an object from index to name.

    Raises:
        RequestError: the file does not exist or does not name every class.
    """
    try:
        text = path.read_text(encoding="utf-8")
        labels = _parse_json(json.loads(text)) if path.suffix == ".json" else text.splitlines()
    except OSError as error:
        raise RequestError(f"{path}: {error.strerror}.", "check the path.") from None
    except ValueError as error:  # not UTF-8, or not JSON
        raise RequestError(f"{path} can't be read: {error}.", "give text or JSON.") from None
    if len(labels) != classes or not all(labels):
        message = f"{path} does not name {classes} classes, but {len(list(filter(None, labels)))}."
        raise RequestError(message, "give one line per class.")
    return tuple(labels)


def read_config_labels(config: Mapping[str, Any], classes: int, where: str) -> tuple[str, ...]:
    """Return the names of all `classes` from a config.json; empty if it has none.

    Hugging Face keeps them in `id2label`. timm keeps them in `label_names`, and
    `label_descriptions` may map such a name to words.

    Args:
        config: content of the config.json.
        classes: number of the model's classes; 0 if it does not classify.
        where: the checkpoint, for errors.

    Raises:
        RequestError: the config names more or fewer classes, or leaves some out.
    """
    table = config.get("id2label") or config.get("label_names")
    if not table or not classes:
        return ()
    descriptions = config.get("label_descriptions") or {}
    names = _sort_by_index(table, classes)
    if len(table) != classes or not all(names):
        count = len(table) if len(table) != classes else len([*filter(None, names)])
        message = f"{where}: its config.json names {count} classes, its tensors have {classes}."
        raise RequestError(message, "give --labels FILE.")
    return tuple(str(descriptions.get(name, name)) for name in names)


def _parse_json(values: Any) -> list[str]:
    if isinstance(values, dict) and "id2label" in values:
        values = values["id2label"]
    if not isinstance(values, dict | list):
        raise ValueError("neither a list nor an object")  # noqa: TRY004 reported as bad JSON is
    return [str(name) for name in _sort_by_index(values, len(values))]


def _sort_by_index(table: Mapping[Any, Any] | list[Any], classes: int) -> list[Any]:
    """Return the names in the order of their indices; a missing one is empty."""
    if isinstance(table, list):
        return table
    names = {str(key): name for key, name in table.items()}
    return [names.get(str(i), "") for i in range(classes)]


def find_class(label: str, names: Sequence[str], classes: int, where: str) -> int:
    """Return the index of the class that `label` names.

    `label` is looked up in this order: as one of `names`; as one of them in another case or
    punctuation, since no folder can be called T-shirt/top; as an index below `classes`. Names come
    first, because the class named 3 need not be the fourth.

    Args:
        label: name or index of a class.
        names: names of the classes in order; empty if they have none.
        classes: number of classes.
        where: place of the label, for errors.

    Raises:
        RequestError: no class has this name or index, or several classes have the name.
    """
    indices = _find_name(label, names)
    if len(indices) > 1:
        message = f"{where}: {label!r} is the name of the classes {indices[0]} and {indices[1]}."
        raise RequestError(message, "give the index in place of the name.")
    if indices:
        return indices[0]
    if re.fullmatch("[0-9]{1,9}", label) and int(label) < classes:
        return int(label)
    close = f"{did_you_mean(label, names)} Or" if names else "the model has no class names:"
    message = f"{where}: {label!r} is no class of the model."
    fix = f"{close} give an index, 0 to {classes - 1}."
    raise RequestError(message, f"{fix} An image without a class belongs in no sub-folder or row.")


def _find_name(label: str, names: Sequence[str]) -> list[int]:
    """Return the indices of the classes with the name `label`, or else with a similar one."""
    exact = [i for i, name in enumerate(names) if name == label]
    key = _normalize(label)
    return exact or [i for i, name in enumerate(names) if key and _normalize(name) == key]


def _normalize(name: str) -> str:
    """Return the same text for `T-shirt/top`, `t_shirt_top` and `T shirt top`."""
    return re.sub(r"[\W_]+", "_", name.casefold()).strip("_")
