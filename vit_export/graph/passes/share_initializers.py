"""Merge equal small initializers."""

import onnx_ir as ir
from onnx_ir.passes.common import DeduplicateInitializersPass


def share_initializers(model: ir.Model) -> int:
    """Keep one of each group of equal small initializers; return the number of removals.

    Large ones stay: only an untrained model has two equal weight matrices.
    """
    before = len(model.graph.initializers)
    DeduplicateInitializersPass(size_limit=1024)(model)
    return before - len(model.graph.initializers)
