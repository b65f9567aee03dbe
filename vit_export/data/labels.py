"""Class names: those of a config.json, and the class that a name or an index means."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from vit_export.core.errors import RequestError, did_you_mean
from vit_export.data.label_values import check_names, parse_names

LABELS = "give --labels FILE."


def read_config_labels(config: Mapping[str, Any], classes: int, where: str) -> tuple[str, ...]:
    """Return the names of all `classes` from a config.json; empty if it has none.

    Hugging Face keeps them in `id2label`. timm keeps them in `label_names`, and
    `label_descriptions` may map such a name to words.

    Args:
        config: content of the config.json.
        classes: number of the model's classes; 0 if it does not classify.
        where: the checkpoint, for errors.

    Raises:
        RequestError: the config names more or fewer classes, leaves some out, or a name is not one
            line of text.
    """
    table = config.get("id2label") or config.get("label_names")
    if not table or not classes:
        return ()
    where = f"{where}: its config.json"
    try:
        names = _describe(parse_names(table, where), config.get("label_descriptions"))
        check_names(names, where)
    except RequestError as error:
        raise RequestError(error.message, LABELS) from None
    count = len([*filter(None, names)])
    if count != classes:
        raise RequestError(f"{where} names {count} classes, its tensors have {classes}.", LABELS)
    return names


def _describe(names: Sequence[str], descriptions: Any) -> tuple[str, ...]:
    words = descriptions if isinstance(descriptions, Mapping) else {}
    return tuple(str(words.get(name, name)) for name in names)


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
