"""What nobody reads goes."""

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass


def remove_unused(model: ir.Model) -> int:
    """Removes nodes and initializers without a reader; says how many."""
    graph = model.graph
    before = len(graph) + len(graph.initializers)
    RemoveUnusedNodesPass()(model)
    return before - len(graph) - len(graph.initializers)
