"""Tensor names of a checkpoint, for errors: translated back from ours, or as readable examples."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from vit_export.checkpoints.families.base import Family
from vit_export.checkpoints.families.translation import JOINER, Translation
from vit_export.model.vit.state import FUSED_LAYERS, StateDict

GROUP = re.compile(r"\\(\d)")
"""A reference to a group in our names."""
READABLE = (
    (r"\(\?:\[[^\]]+\]\+\\\.\)\?", ""),  # any prefix: none
    (r"\(\?:([^()|]*)\)\?", r"\1"),  # an optional part: present
    (r"\(\?:([^()|]*)\|[^()]*\)", r"\1"),  # alternatives: the first
    (r"(?<=\w)[a-z]\?", ""),  # an optional letter: absent
)
"""Constructs of our regular expressions, each with its replacement in an example."""
EXAMPLES = {r"(\d+)": "0", r"(\w+)": "weight"}
"""Groups of our regular expressions, each with its value in an example."""
MAX_PREFIX_WORDS = 3
"""Maximum number of words in a prefix; dots separate words."""


def make_example(pattern: str, groups: Iterable[str] = ()) -> str:
    """Return a readable name that `pattern` matches, with `groups` in place of its groups."""
    for construct, plain in READABLE:
        pattern = re.sub(construct, plain, pattern)
    values = [*groups]
    for group in re.findall(r"\([^()]*\)", pattern):
        default = EXAMPLES.get(group) or group[1:-1].partition("|")[0]
        pattern = pattern.replace(group, values.pop(0) if values else default, 1)
    return pattern.replace("\\", "")


def build_name_lookup(family: Family, translation: Translation) -> Callable[[str], str]:
    """Return a function from our name of a tensor to its name in the checkpoint.

    A tensor that the checkpoint lacks gets the name that it would have there.
    """

    def look_up(ours: str) -> str:
        name = translation.origins.get(ours) or _translate_back(family, translation.origins, ours)
        if name:
            return name
        for whole, parts in FUSED_LAYERS.items():
            if whole in ours:
                names = [ours.replace(whole, part) for part in parts]
                missing = [name for name in names if name not in translation.origins] or names
                theirs = [_translate_back(family, translation.origins, name) for name in missing]
                if all(theirs):
                    return JOINER.join(filter(None, theirs))
        return ours

    return look_up


def _translate_back(family: Family, origins: Mapping[str, str], ours: str) -> str | None:
    """Return the name that the tensor `ours` would have in the checkpoint."""
    for pattern, template in family.names.items():
        back = GROUP.sub(r"(?P<g\1>\\w+?)", template.replace(".", r"\."))
        if match := re.fullmatch(back, ours):
            values = {int(name[1:]): value for name, value in match.groupdict().items()}
            return _copy_sibling(pattern, origins.values(), values) or make_example(
                pattern, [values[number] for number in sorted(values)]
            )
    return None


def _copy_sibling(pattern: str, names: Iterable[str], values: Mapping[int, str]) -> str | None:
    """Return the first of `names` that matches `pattern`, with `values` in place of its groups."""
    single = (one for name in names for one in name.split(JOINER))
    match = next((match for name in single if (match := re.fullmatch(pattern, name))), None)
    if match is None:
        return None
    text = match.string
    for number in sorted(values, reverse=True):
        text = text[: match.start(number)] + values[number] + text[match.end(number) :]
    return text


def describe_closest(families: Sequence[Family], state: StateDict) -> str:
    """Return a sentence: the family that knows most names of `state`, and the marks it misses."""
    plainest_first = reversed(families)
    closest = max(
        plainest_first, key=lambda one: (one.count_known(state), -len(one.missing_marks(state)))
    )
    known = closest.count_known(state)
    if not known:
        return ""
    missing = ", ".join(map(make_example, closest.missing_marks(state)))
    return (
        f" The closest is {closest.name}, which knows {known} of the {len(state)} "
        f"names, and has to have {missing}."
    )


def find_prefix(families: Sequence[Family], state: StateDict) -> tuple[str, Family] | None:
    """Return a prefix of names, and the family that these names belong to without it."""
    for prefix in _iterate_prefixes(state):
        names = {name.removeprefix(prefix) for name in state if name.startswith(prefix)}
        family = next((family for family in families if family.recognizes(names)), None)
        if family is not None:
            return prefix, family
    return None


def _iterate_prefixes(state: StateDict) -> Iterator[str]:
    words = [name.split(".") for name in state]
    for length in range(1, MAX_PREFIX_WORDS + 1):
        yield from dict.fromkeys(".".join(w[:length]) + "." for w in words if len(w) > length)
