"""Nodes and initializers without a reader go."""

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass


def remove_unused(model: ir.Model) -> int:
    """Remove nodes and initializers that nothing reads; return how many."""
    graph = model.graph
    before = len(graph) + len(graph.initializers)
    RemoveUnusedNodesPass()(model)
    return before - len(graph) - len(graph.initializers)
