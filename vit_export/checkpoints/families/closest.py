"""What to say of a checkpoint of no family: the closest one, and what stands in its way."""

from collections.abc import Iterator, Sequence

from vit_export.checkpoints.families.base import Family
from vit_export.checkpoints.families.naming import example
from vit_export.model.vit.state import StateDict

DEEPEST = 3
"""How many words of a name may be a prefix."""


def closest(families: Sequence[Family], state: StateDict) -> str:
    """The family that knows most of the names, and what it misses to be it."""
    plainest_first = reversed(families)
    found = max(plainest_first, key=lambda one: (one.known(state), -len(one.missing(state))))
    if not found.known(state):
        return ""
    missing = ", ".join(map(example, found.missing(state)))
    return (
        f" The closest is {found.name}, which knows {found.known(state)} of the {len(state)} "
        f"names, and has to have {missing}."
    )


def prefixed(families: Sequence[Family], state: StateDict) -> tuple[str, Family] | None:
    """A prefix without which the names that have it are those of a family."""
    for prefix in _prefixes(state):
        names = {name.removeprefix(prefix) for name in state if name.startswith(prefix)}
        family = next((family for family in families if family.recognises(names)), None)
        if family is not None:
            return prefix, family
    return None


def _prefixes(state: StateDict) -> Iterator[str]:
    words = [name.split(".") for name in state]
    for length in range(1, DEEPEST + 1):
        yield from dict.fromkeys(".".join(w[:length]) + "." for w in words if len(w) > length)
