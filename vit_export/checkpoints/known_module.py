"""The part of a module in memory that is a known model: the module itself, or one inside it.

A wrapper that only calls a known model is read as that model. Whether it does more is for
`validation.reading` to say, which runs it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vit_export.core.errors import RequestError

if TYPE_CHECKING:  # torch is heavy, and a bad request is refused without it
    from collections.abc import Iterator

    from torch import nn

    from vit_export.checkpoints.families.base import Facts, Family

MOST_WORDS = 3
"""Most words in the path of a part: a wrapper has its model near its surface."""


@dataclass(frozen=True, eq=False)
class KnownModule:
    """A module whose tensors belong to a family, and what its attributes say."""

    path: str
    """Its name inside the user's module; empty for that module itself."""
    module: "nn.Module"
    family: "Family"
    facts: "Facts"
    owner: "nn.Module"
    """The module whose attributes say the facts: the module itself, or a part of it."""


def find_known_module(module: "nn.Module") -> KnownModule:
    """Return the outermost module inside `module` that is a known model.

    Raises:
        RequestError: there is none, or no attribute says what its tensors do not show.
    """
    from vit_export.checkpoints.families import find_family, recognize

    silent: tuple[str, Family] | None = None
    for path, inner in _list_parts(module):
        family = recognize(inner.state_dict().keys())
        if family is None:
            continue
        for owner in inner.modules():
            facts = _read_facts(family, owner)
            if facts is not None:
                find_family(inner.state_dict(), type(module).__name__)  # refuses the meta device
                return KnownModule(path, inner, family, facts, owner)
        silent = silent or (path, family)
    if silent is None:
        find_family(module.state_dict(), type(module).__name__)  # it says what is known
    where = type(module).__name__
    name = silent[1].name if silent else "no known family"
    raise RequestError(
        f"{where} has the tensors of {name}, and no attribute says how many heads it has.",
        "give (VitSpec, state dict), where the spec says it.",
    )


def _list_parts(module: "nn.Module") -> "Iterator[tuple[str, nn.Module]]":
    """Yield a module and the parts near its surface, outermost first."""
    parts = [
        (path, part) for path, part in module.named_modules() if len(path.split(".")) <= MOST_WORDS
    ]
    yield from sorted(parts, key=lambda item: len(item[0].split(".")) if item[0] else 0)


def _read_facts(family: "Family", module: "nn.Module") -> "Facts | None":
    """Return what the attributes of a module say; None if it has other attributes."""
    try:
        return family.module_facts(module)
    except (AttributeError, LookupError, TypeError, StopIteration):
        return None
