"""What a finished graph is made of, and whether everything is in the form that runtimes fuse."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

from vit_export.graph.builder import MICROSOFT
from vit_export.graph.census import census
from vit_export.graph.cost import flops_of
from vit_export.graph.patterns import attentions
from vit_export.model.vit.spec import VitSpec

GELU_OPSET = 20
PIECES = {"gelu": "Erf", "gelu_tanh": "Tanh", "quick_gelu": "Sigmoid", "swiglu": "Sigmoid"}
"""By kind of MLP: the operator at the heart of its activation where no single one exists."""


@dataclass(frozen=True)
class Fusion:
    """How often something should stand in a graph in its best form, and does."""

    name: str
    expected: int
    found: int
    reason: str = ""
    """Why some are missing."""

    @property
    def whole(self) -> bool:
        """Whether none is missing."""
        return self.found == self.expected

    def __str__(self) -> str:
        told = f": {self.reason}" if self.reason and not self.whole else ""
        return f"{self.name} {self.found}/{self.expected}{told}"


@dataclass(frozen=True, kw_only=True)
class Audit:
    """One ONNX graph in numbers."""

    nodes: int
    operators: Mapping[str, int]
    """The most frequent first."""
    fusions: tuple[Fusion, ...]
    flops: int
    """Of matrix products and convolutions for one image; a multiply-add counts two."""
    macs: Mapping[str, int]
    """Multiply-adds for one image by arithmetic (`census`)."""
    dtypes: Mapping[str, int]
    """Numbers that the file holds, by type."""
    opset: int
    domains: tuple[str, ...]
    """Operator sets besides the standard one."""
    ir_version: int
    dynamic_axes: tuple[str, ...]

    @property
    def missing(self) -> list[str]:
        """One sentence per fusion that is not whole."""
        return [str(fusion) for fusion in self.fusions if not fusion.whole]


def audit(model: ir.Model, spec: VitSpec) -> Audit:
    """`model`, which should be a graph of `spec`, in numbers."""
    operators = Counter(node.op_type for node in model.graph)
    dtypes: Counter[str] = Counter()
    for value in model.graph.initializers.values():
        if value.const_value is not None:
            dtypes[value.const_value.dtype.name] += value.const_value.size
    image = model.graph.inputs[0].shape or ()
    return Audit(
        nodes=len(model.graph),
        operators=dict(operators.most_common()),
        fusions=_fusions(model, spec, operators),
        flops=flops_of(model.graph),
        macs=census(model.graph),
        dtypes=dict(dtypes.most_common()),
        opset=model.opset_imports[""],
        domains=tuple(sorted(filter(None, model.opset_imports))),
        ir_version=model.ir_version or 0,
        dynamic_axes=tuple(str(axis) for axis in image if not isinstance(axis, int)),
    )


def _fusions(model: ir.Model, spec: VitSpec, operators: Counter[str]) -> tuple[Fusion, ...]:
    pools = int(spec.pool == "map")
    norms = (spec.norm_before_blocks, spec.norm_before_pool, spec.norm_after_pool)
    activation = _activation(model, spec)
    found = len(attentions(model.graph)) + operators["MultiHeadAttention"]
    left = operators["Softmax"] + operators["MultiHeadAttention"] - found
    return (
        Fusion("attention", spec.depth, found, f"{left} softmax stand in another form"),
        Fusion(
            "LayerNorm",
            2 * spec.depth + sum(norms) + pools,
            operators["LayerNormalization"],
            "the others have no node of their own",
        ),
        Fusion(
            f"activation ({activation})",
            spec.depth + pools,
            operators[activation],
            f"{operators[PIECES[spec.mlp]]} are in pieces ({PIECES[spec.mlp]})",
        ),
    )


def _activation(model: ir.Model, spec: VitSpec) -> str:
    """The one operator for the activation that this opset and these domains have, or its heart."""
    if spec.mlp in {"gelu", "gelu_tanh"} and model.opset_imports[""] >= GELU_OPSET:
        return "Gelu"
    if spec.mlp == "quick_gelu" and MICROSOFT in model.opset_imports:
        return "QuickGelu"
    return PIECES[spec.mlp]
