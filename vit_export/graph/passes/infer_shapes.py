"""Infer the shapes of values: other passes compare them, and the audit counts FLOPs by them."""

import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from vit_export.graph.weightless import weights_as_inputs


def infer_shapes(model: ir.Model) -> int:
    """Give a shape to each value without one, if onnx infers it; return the number of changes."""
    before = _count_unknown(model)
    if not before:
        return 0
    with weights_as_inputs(model):
        ShapeInferencePass(strict_mode=False, data_prop=False)(model)
    return before - _count_unknown(model)


def _count_unknown(model: ir.Model) -> int:
    return sum(value.shape is None for node in model.graph for value in node.outputs)
