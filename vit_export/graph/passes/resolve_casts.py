"""Resolve CastLike where both types are known: the bias that a Conv lacks comes from one."""

import onnx_ir as ir

from vit_export.graph.builder import NodeBuilder


def resolve_casts(model: ir.Model) -> int:
    """Replace each CastLike of known types by a Cast, or by nothing; return the number of changes.

    onnxruntime runs a Conv whose bias is computed at run time in a slower form.
    """
    casts = [node for node in model.graph if node.op_type == "CastLike"]
    return sum(_resolve(model, node) for node in casts)


def _resolve(model: ir.Model, node: ir.Node) -> bool:
    source, like = node.inputs
    if source is None or like is None or source.dtype is None or like.dtype is None:
        return False
    if source.dtype != like.dtype:
        build = NodeBuilder(model, node)
        build.replace_anchor(build("Cast", source, to=like.dtype))
        return True
    if node.outputs[0].is_graph_output():
        return False
    ir.convenience.replace_all_uses_with(node.outputs[0], source)
    model.graph.remove(node, safe=True)
    return True
