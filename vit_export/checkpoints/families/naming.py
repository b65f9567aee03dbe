"""Names in the words of the file: the way back from ours, and regular expressions as examples."""

import re
from collections.abc import Callable, Iterable, Mapping

from vit_export.checkpoints.families.base import JOINER, Family, Renamed
from vit_export.model.vit.state import FUSED_LAYERS

WORD = re.compile(r"\\(\d)")
READABLE = (
    (r"\(\?:\[[^\]]+\]\+\\\.\)\?", ""),  # any prefix: none
    (r"\(\?:([^()|]*)\)\?", r"\1"),  # what may be there: there
    (r"\(\?:([^()|]*)\|[^()]*\)", r"\1"),  # one of several: the first
    (r"(?<=\w)[a-z]\?", ""),  # an optional letter
)


def example(pattern: str, groups: Iterable[str] = ()) -> str:
    """A name that `pattern` matches, readable, with `groups` in the places of its groups."""
    for construct, plain in READABLE:
        pattern = re.sub(construct, plain, pattern)
    values = [*groups]
    for group in re.findall(r"\([^()]*\)", pattern):
        first = {r"(\d+)": "0", r"(\w+)": "weight"}.get(group) or group[1:-1].partition("|")[0]
        pattern = pattern.replace(group, values.pop(0) if values else first, 1)
    return pattern.replace("\\", "")


def originals(family: Family, renamed: Renamed) -> Callable[[str], str]:
    """A function from our name to that of the file, or that which it would have there."""

    def original(ours: str) -> str:
        found = renamed.origins.get(ours) or _translated(family, renamed.origins, ours)
        if found:
            return found
        for whole, parts in FUSED_LAYERS.items():
            if whole in ours:
                names = [ours.replace(whole, part) for part in parts]
                lost = [name for name in names if name not in renamed.origins] or names
                told = [_translated(family, renamed.origins, name) for name in lost]
                if all(told):
                    return JOINER.join(filter(None, told))
        return ours

    return original


def _translated(family: Family, origins: Mapping[str, str], ours: str) -> str | None:
    for pattern, template in family.names.items():
        back = WORD.sub(r"(?P<g\1>\\w+?)", template.replace(".", r"\."))
        if match := re.fullmatch(back, ours):
            values = {int(name[1:]): value for name, value in match.groupdict().items()}
            return _like_a_sibling(pattern, origins.values(), values) or example(
                pattern, [values[number] for number in sorted(values)]
            )
    return None


def _like_a_sibling(pattern: str, names: Iterable[str], values: Mapping[int, str]) -> str | None:
    """A name of the file that `pattern` matches, with other values in its groups."""
    single = (one for name in names for one in name.split(JOINER))
    match = next((found for name in single if (found := re.fullmatch(pattern, name))), None)
    if match is None:
        return None
    text = match.string
    for number in sorted(values, reverse=True):
        text = text[: match.start(number)] + values[number] + text[match.end(number) :]
    return text
