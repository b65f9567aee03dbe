"""Values as one JSON document."""

import json
import math
from collections.abc import Mapping
from typing import Any


def to_json(values: Any) -> str:
    """Return `values` as one JSON document; infinities and NaN become text, as JSON lacks them."""
    return json.dumps(_finite(values), indent=2, sort_keys=True, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return value
