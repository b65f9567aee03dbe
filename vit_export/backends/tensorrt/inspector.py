"""The arithmetic of a finished engine's matmuls, as TensorRT's inspector reports it on a GPU."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from vit_export.artifact.precision import PRECISIONS, find_wrong_arithmetic

DTYPES = (
    ("bf16", "bf16"),
    ("bfloat", "bf16"),
    ("fp16", "fp16"),
    ("half", "fp16"),
    ("int8", "int8"),
    ("fp32", "fp32"),
    ("float", "fp32"),
)
"""Words for a dtype in the inspector's text, longer ones first, and our names."""
UNKNOWN = "unknown"
MATMULS = ("gemm", "conv", "matrix", "matmul")
"""Words in the type of a layer that multiplies. Layers inside a fused region (ForeignNode) are not
listed one by one; only the counts of the parsed network include them."""


def inspect_matmuls(library: Any, engine: Any) -> dict[str, int]:
    """Return the number of an engine's matmuls by arithmetic; empty where it is not reported."""
    inspector = engine.create_engine_inspector()
    return count_matmuls(str(inspector.get_engine_information(library.LayerInformationFormat.JSON)))


def count_matmuls(document: str) -> dict[str, int]:
    """Return the matmuls in the inspector's JSON by the smallest dtype that they read or write."""
    try:
        layers = json.loads(document)["Layers"]
    except (ValueError, KeyError, TypeError):
        return {}
    matmuls = [one for one in layers if isinstance(one, dict) and _multiplies(one)]
    return dict(Counter(_smallest_dtype(one) for one in matmuls).most_common())


def find_wrong_matmuls(matmuls: Mapping[str, int], precision: str) -> str:
    """Return what is wrong with an engine that has these matmuls; empty if nothing is.

    The share in the arithmetic of `precision` has to be as large as in a parsed network. Matmuls of
    an unknown dtype do not count. Where only weights have fewer bits, either dtype is right.
    """
    counts = {name: count for name, count in matmuls.items() if name != UNKNOWN}
    if not counts:
        return ""
    either = PRECISIONS[precision].arithmetic.split(" x ")
    problem = find_wrong_arithmetic(counts, precision, unit="matmuls", accept=either)
    return f"it {problem}" if problem else ""


def _multiplies(layer: Mapping[str, Any]) -> bool:
    kind = str(layer.get("LayerType", "")).lower()
    return any(word in kind for word in MATMULS)


def _smallest_dtype(layer: Mapping[str, Any]) -> str:
    ends = [*(layer.get("Inputs") or []), *(layer.get("Outputs") or [])]
    dtypes = {_dtype(str(end.get("Format/Datatype", end.get("Datatype", "")))) for end in ends}
    return next((name for name in ("int8", "bf16", "fp16", "fp32") if name in dtypes), UNKNOWN)


def _dtype(text: str) -> str:
    return next((name for word, name in DTYPES if word in text.lower()), "")
