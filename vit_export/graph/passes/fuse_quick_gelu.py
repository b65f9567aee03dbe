"""Fuse QuickGELU, CLIP's activation, into one node of ONNX Runtime's own domain."""

import onnx_ir as ir

from vit_export.graph.builder import (
    MICROSOFT,
    find_producer,
    module_name,
    read_constant,
    replace_node,
)


def fuse_quick_gelu(model: ir.Model) -> int:
    """Replace Mul(x, Sigmoid(Mul(x, a))) by com.microsoft.QuickGelu(x, a).

    Return the number of changes.
    """
    matches = [(node, *match) for node in model.graph if (match := _match(node))]
    for node, x, alpha in matches:
        name = f"{module_name(node)}/QuickGelu"
        fused = ir.node("QuickGelu", [x], {"alpha": alpha}, domain=MICROSOFT, name=name)
        replace_node(model, node, fused)
    return len(matches)


def _match(node: ir.Node) -> tuple[ir.Value, float] | None:
    """Return x and a if `node` is the outer Mul."""
    if node.op_type != "Mul":
        return None
    x, sigmoid = node.inputs[0], find_producer(node.inputs[1], "Sigmoid")
    scale = find_producer(sigmoid.inputs[0], "Mul") if sigmoid is not None else None
    if x is None or scale is None or x not in scale.inputs:
        return None
    alpha = read_constant(scale.inputs[1] if scale.inputs[0] is x else scale.inputs[0])
    return (x, float(alpha.item())) if alpha is not None and alpha.size == 1 else None
