"""CLIP's activation in one node of ONNX Runtime's own domain."""

import onnx_ir as ir

from vit_export.graph.builder import MICROSOFT, constant, producer, replace_node, scope


def fuse_quick_gelu(model: ir.Model) -> int:
    """Replaces Mul(x, Sigmoid(Mul(x, a))) by com.microsoft.QuickGelu(x, a); says how many."""
    found = [(node, *told) for node in model.graph if (told := _match(node))]
    for node, x, alpha in found:
        name = f"{scope(node)}/QuickGelu"
        made = ir.node("QuickGelu", [x], {"alpha": alpha}, domain=MICROSOFT, name=name)
        replace_node(model, node, made)
    return len(found)


def _match(node: ir.Node) -> tuple[ir.Value, float] | None:
    if node.op_type != "Mul":
        return None
    x, sigmoid = node.inputs[0], producer(node.inputs[1], "Sigmoid")
    scaled = producer(sigmoid.inputs[0], "Mul") if sigmoid is not None else None
    if x is None or scaled is None or x not in scaled.inputs:
        return None
    alpha = constant(scaled.inputs[1] if scaled.inputs[0] is x else scaled.inputs[0])
    return (x, float(alpha.item())) if alpha is not None and alpha.size == 1 else None
