"""Values as one JSON document."""

import json
import math
from collections.abc import Mapping
from typing import Any


def to_json(values: Any) -> str:
    r"""Return `values` as one JSON document.

    JSON lacks infinities, NaN and names that are not UTF-8: they become text, as in `caf\xe9.png`.
    """
    return json.dumps(_finite(values), indent=2, sort_keys=True, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {_spell_bytes(str(key)): _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return _spell_bytes(value) if isinstance(value, str) else value


def _spell_bytes(text: str) -> str:
    r"""Return the text with halves of characters spelled, such as `\xe9` or `\ud800`."""
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # halves that stand for no byte
        return text.encode("utf-8", "backslashreplace").decode()
