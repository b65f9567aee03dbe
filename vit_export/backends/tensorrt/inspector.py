"""What the products of a finished engine are done in, as TensorRT's inspector tells on a GPU."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from vit_export.artifact.precision import PRECISIONS, find_wrong_arithmetic

WORDS = (
    ("bf16", "bf16"),
    ("bfloat", "bf16"),
    ("fp16", "fp16"),
    ("half", "fp16"),
    ("int8", "int8"),
    ("fp32", "fp32"),
    ("float", "fp32"),
)
"""How types stand in the inspector's text, the longer words first, and how we call them."""
UNKNOWN = "unknown"
PRODUCTS = ("gemm", "conv", "matrix", "matmul")
"""What the type of a layer that multiplies has in its name. Those inside a fused region
(ForeignNode) are not told one by one; of them the network's own census speaks."""


def inspected(library: Any, engine: Any) -> dict[str, int]:
    """Products of an engine by arithmetic; nothing where it does not tell."""
    inspector = engine.create_engine_inspector()
    return counted(str(inspector.get_engine_information(library.LayerInformationFormat.JSON)))


def counted(document: str) -> dict[str, int]:
    """The products in the inspector's JSON by the lowest type that they read or write."""
    try:
        layers = json.loads(document)["Layers"]
    except (ValueError, KeyError, TypeError):
        return {}
    products = [one for one in layers if isinstance(one, dict) and _multiplies(one)]
    return dict(Counter(_lowest(one) for one in products).most_common())


def check_inspected(counts: Mapping[str, int], precision: str) -> str:
    """What is wrong with an engine that tells of such products; empty where nothing is.

    As many have to be in what was asked for as of the network that it was built of. Those of which
    it tells no type neither prove nor refute; of weights alone either type may be told.
    """
    wanted = PRECISIONS[precision].arithmetic.split(" x ")
    told = {name: count for name, count in counts.items() if name != UNKNOWN}
    if not told:
        return ""
    problem = find_wrong_arithmetic(told, precision, unit="products", accept=wanted)
    return f"it {problem}" if problem else ""


def _multiplies(layer: Mapping[str, Any]) -> bool:
    kind = str(layer.get("LayerType", "")).lower()
    return any(word in kind for word in PRODUCTS)


def _lowest(layer: Mapping[str, Any]) -> str:
    ends = [*(layer.get("Inputs") or []), *(layer.get("Outputs") or [])]
    types = {_type(str(end.get("Format/Datatype", end.get("Datatype", "")))) for end in ends}
    return next((name for name in ("int8", "bf16", "fp16", "fp32") if name in types), UNKNOWN)


def _type(text: str) -> str:
    return next((name for word, name in WORDS if word in text.lower()), "")
