"""A class by what people call it: its name, or its index."""

import re
from collections.abc import Sequence

from vit_export.core.errors import RequestError, did_you_mean


def class_of(said: str, names: Sequence[str], classes: int, where: str) -> int:
    """The index of the class that is called `said`; `where` names its origin in errors.

    That is a name among `names`, one that differs from it in case and punctuation alone (no
    folder can be called T-shirt/top), or an index below `classes`. In this order: the class named
    3 need not be the fourth.

    Raises:
        RequestError: no class, or a name that several classes have.
    """
    found = _named(said, names)
    if len(found) > 1:
        message = f"{where}: {said!r} is the name of the classes {found[0]} and {found[1]}."
        raise RequestError(message, "give the index in place of the name.")
    if found:
        return found[0]
    if re.fullmatch("[0-9]{1,9}", said) and int(said) < classes:
        return int(said)
    close = f"{did_you_mean(said, names)} Or" if names else "the model has no class names:"
    message = f"{where}: {said!r} is no class of the model."
    fix = f"{close} give an index, 0 to {classes - 1}."
    raise RequestError(message, f"{fix} Unlabelled images stand in no sub-folder and in no row.")


def _named(said: str, names: Sequence[str]) -> list[int]:
    exact = [i for i, name in enumerate(names) if name == said]
    alike = _folded(said)
    return exact or [i for i, name in enumerate(names) if alike and _folded(name) == alike]


def _folded(name: str) -> str:
    """`T-shirt/top`, `t_shirt_top` and `T shirt top` are one name."""
    return re.sub(r"[\W_]+", "_", name.casefold()).strip("_")
