"""Equal initializers become one."""

import onnx_ir as ir
from onnx_ir.passes.common import DeduplicateInitializersPass


def share_initializers(model: ir.Model) -> int:
    """Keep one of several small initializers that are equal; return how many went.

    Large ones stay: two equal weight matrices mean an untrained model.
    """
    before = len(model.graph.initializers)
    DeduplicateInitializersPass(size_limit=1024)(model)
    return before - len(model.graph.initializers)
