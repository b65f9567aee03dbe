"""Turn Constant nodes into initializers."""

import onnx_ir as ir
from onnx_ir.passes.common import LiftConstantsToInitializersPass


def lift_constants(model: ir.Model) -> int:
    """Make every Constant an initializer; return the number of changes."""
    before = len(model.graph.initializers)
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    return len(model.graph.initializers) - before
