"""Every value says its shape: passes compare them, and the audit counts with them."""

import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from vit_export.graph.weightless import weights_as_inputs


def infer_shapes(model: ir.Model) -> int:
    """Gives a shape to every value without one, where the standard knows it; says how many."""
    without = _without_shape(model)
    if not without:
        return 0
    with weights_as_inputs(model):
        ShapeInferencePass(strict_mode=False, data_prop=False)(model)
    return len(without) - len(_without_shape(model))


def _without_shape(model: ir.Model) -> list[ir.Value]:
    return [value for node in model.graph for value in node.outputs if value.shape is None]
