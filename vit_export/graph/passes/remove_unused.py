"""Remove nodes and initializers that nothing reads."""

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass


def remove_unused(model: ir.Model) -> int:
    """Remove nodes and initializers that nothing reads; return the number of removals."""
    graph = model.graph
    before = len(graph) + len(graph.initializers)
    RemoveUnusedNodesPass()(model)
    return before - len(graph) - len(graph.initializers)
