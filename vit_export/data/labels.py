"""Class names, from the files that people keep them in: one a line, or JSON."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vit_export.core.errors import RequestError


def read_labels(path: Path, classes: int) -> tuple[str, ...]:
    """The names of all `classes` in a file: a line each, or (.json) a list or index to name.

    Raises:
        RequestError: no such file, or one that does not name every class.
    """
    try:
        text = path.read_text(encoding="utf-8")
        labels = _of_json(json.loads(text)) if path.suffix == ".json" else text.splitlines()
    except OSError as error:
        raise RequestError(f"{path}: {error.strerror}.", "check the path.") from None
    except ValueError as error:  # not UTF-8, or not JSON
        raise RequestError(f"{path} can't be read: {error}.", "give text or JSON.") from None
    if len(labels) != classes or not all(labels):
        message = f"{path} does not name {classes} classes, but {len(list(filter(None, labels)))}."
        raise RequestError(message, "give one line per class.")
    return tuple(labels)


def labels_in(config: Mapping[str, Any], classes: int, where: str) -> tuple[str, ...]:
    """The names of all `classes` in a config.json, or none if it has none or there are no classes.

    Hugging Face keeps them in `id2label`; timm in `label_names`, which `label_descriptions` may say
    in words.

    Raises:
        RequestError: it names more or fewer classes, or leaves some out.
    """
    told = config.get("id2label") or config.get("label_names")
    if not told or not classes:
        return ()
    descriptions = config.get("label_descriptions") or {}
    names = _in_order(told, classes)
    if len(told) != classes or not all(names):
        given = len(told) if len(told) != classes else len([*filter(None, names)])
        message = f"{where}: its config.json names {given} classes, its tensors have {classes}."
        raise RequestError(message, "give --labels FILE.")
    return tuple(str(descriptions.get(name, name)) for name in names)


def _of_json(values: Any) -> list[str]:
    if isinstance(values, dict) and "id2label" in values:
        values = values["id2label"]
    if not isinstance(values, dict | list):
        raise ValueError("neither a list nor an object")  # noqa: TRY004 told as bad JSON is
    return [str(name) for name in _in_order(values, len(values))]


def _in_order(told: Mapping[Any, Any] | list[Any], classes: int) -> list[Any]:
    if isinstance(told, list):
        return told
    names = {str(key): name for key, name in told.items()}
    return [names.get(str(i), "") for i in range(classes)]
