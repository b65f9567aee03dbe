"""The audit of a finished graph: its operators, its arithmetic, and whether fusions succeeded."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

from vit_export.graph.builder import MICROSOFT
from vit_export.graph.cost import count_flops, macs_by_dtype
from vit_export.graph.patterns import find_attentions
from vit_export.graph.saturation import find_saturating
from vit_export.model.fusions import ExpectedFusions

GELU_OPSET = 20
"""First opset with the operator Gelu."""
CORE_OPERATORS = {"gelu": "Erf", "gelu_tanh": "Tanh", "quick_gelu": "Sigmoid", "swiglu": "Sigmoid"}
"""By activation: the operator that shows it in a graph that has no node for the whole of it."""


@dataclass(frozen=True)
class Fusion:
    """How many fused nodes of one kind a graph should have, and how many it has."""

    name: str
    expected: int
    found: int
    reason: str = ""
    """Why some are missing."""

    @property
    def complete(self) -> bool:
        """Whether none is missing; passes may find norms that a module's code spells out."""
        return self.found >= self.expected

    def __str__(self) -> str:
        reason = f": {self.reason}" if self.reason and not self.complete else ""
        return f"{self.name} {self.found}/{self.expected}{reason}"


@dataclass(frozen=True, kw_only=True)
class Audit:
    """The numbers that describe an ONNX graph."""

    nodes: int
    operators: Mapping[str, int]
    """Number of nodes by operator, the most frequent first."""
    fusions: tuple[Fusion, ...]
    """Expected and actual fusions of kinds that the model has; empty if they are unknown."""
    flops: int
    """Floating-point operations of products for one image; a multiply-add counts as two."""
    macs: Mapping[str, int]
    """Multiply-adds for one image by number type (`cost.macs_by_dtype`)."""
    saturating: tuple[str, ...]
    """Names of int8 products that may saturate on x86 CPUs without VNNI."""
    dtypes: Mapping[str, int]
    """How many numbers the file stores, by type."""
    opset: int
    domains: tuple[str, ...]
    """Operator sets besides the standard one."""
    ir_version: int
    dynamic_axes: tuple[str, ...]
    """Names of the input's free dimensions."""

    @property
    def missing(self) -> list[str]:
        """A phrase for each fusion that is not complete."""
        return [str(fusion) for fusion in self.fusions if not fusion.complete]


def audit(model: ir.Model, expected: ExpectedFusions | None) -> Audit:
    """Return the audit of `model`.

    Args:
        model: the graph to read.
        expected: the fusions of the graph's best form; None if they are unknown.

    Raises:
        ValueError: a product has no shape.
    """
    operators = Counter(node.op_type for node in model.graph)
    dtypes: Counter[str] = Counter()
    for value in model.graph.initializers.values():
        if value.const_value is not None:
            dtypes[value.const_value.dtype.name] += value.const_value.size
    image = model.graph.inputs[0].shape or ()
    return Audit(
        nodes=len(model.graph),
        operators=dict(operators.most_common()),
        fusions=_count_fusions(model, expected, operators) if expected else (),
        flops=count_flops(model.graph),
        macs=macs_by_dtype(model.graph),
        saturating=find_saturating(model.graph),
        dtypes=dict(dtypes.most_common()),
        opset=model.opset_imports[""],
        domains=tuple(sorted(filter(None, model.opset_imports))),
        ir_version=model.ir_version or 0,
        dynamic_axes=tuple(str(axis) for axis in image if not isinstance(axis, int)),
    )


def _count_fusions(
    model: ir.Model, expected: ExpectedFusions, operators: Counter[str]
) -> tuple[Fusion, ...]:
    activation = _activation_operator(model, expected.activation)
    core = CORE_OPERATORS[expected.activation]
    attentions = len(find_attentions(model.graph)) + operators["MultiHeadAttention"]
    others = operators["Softmax"] + operators["MultiHeadAttention"] - attentions
    fusions = (
        Fusion(
            "attention",
            expected.attentions,
            attentions,
            f"{others} softmax nodes stand in another form",
        ),
        Fusion(
            "LayerNorm",
            expected.layer_norms,
            operators["LayerNormalization"],
            "the others have no node of their own",
        ),
        Fusion(
            f"activation ({activation})",
            expected.activations,
            operators[activation],
            f"{operators[core]} are in pieces ({core})",
        ),
    )
    return tuple(one for one in fusions if one.expected)


def _activation_operator(model: ir.Model, activation: str) -> str:
    """Return the operator of the whole activation in this model's opset and domains.

    Without such an operator it returns the activation's core operator.
    """
    if activation in {"gelu", "gelu_tanh"} and model.opset_imports[""] >= GELU_OPSET:
        return "Gelu"
    if activation == "quick_gelu" and MICROSOFT in model.opset_imports:
        return "QuickGelu"
    return CORE_OPERATORS[activation]
