"""`--outputs`: the list of what a file answers, as text and as names."""

import re
from collections.abc import Iterator, Sequence

from vit_export.core.errors import RequestError

LISTS = {"layers": "layer", "normed-layers": "normed_layer", "attentions": "attention"}
"""Words of the list that numbers of blocks follow, each with the first part of its names."""
ITEM = re.compile(rf"(?:(?P<word>{'|'.join(LISTS)}):)?(?P<rest>[\w.]*)", re.ASCII)
FORM = "give names with commas between them, such as token,patches,layers:3,6,9,12."


def parse_output_names(text: str | Sequence[str]) -> tuple[str, ...]:
    """Return the names in a list: `token,layers:3,6` names token, layer_3 and layer_6.

    Args:
        text: the list as text, or names and parts of such a list.

    Raises:
        RequestError: the text is no such list, or a name stands in it twice.
    """
    whole = text if isinstance(text, str) else ",".join(text)
    names = tuple(_expand(whole))
    for name in names:
        if names.count(name) > 1:
            raise RequestError(f"--outputs names {name} twice.", "name each output once.")
    return names


def _expand(text: str) -> Iterator[str]:
    """Yield the names in a list: a number belongs to the last word with a colon before it."""
    prefix = ""
    for item in text.split(","):
        match = ITEM.fullmatch(item.strip())
        if match is None or not match["rest"]:
            raise RequestError(f"--outputs has {item.strip()!r}, which is no output.", FORM)
        prefix = LISTS[match["word"]] if match["word"] else prefix * match["rest"].isdecimal()
        yield f"{prefix}_{_read_number(match['rest'])}" if prefix else match["rest"]


def _read_number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        message = f"--outputs has the number {text!r} of a block, and blocks count from 1."
        raise RequestError(message, FORM)
    return int(text)
