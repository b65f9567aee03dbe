"""Initializers that are equal become one."""

import onnx_ir as ir
from onnx_ir.passes.common import DeduplicateInitializersPass


def share_initializers(model: ir.Model) -> int:
    """Keeps one of small initializers that are equal (shapes, norms); says how many went.

    Large ones are left alone: two equal weight matrices are an untrained model's.
    """
    before = len(model.graph.initializers)
    DeduplicateInitializersPass(size_limit=1024)(model)
    return before - len(model.graph.initializers)
