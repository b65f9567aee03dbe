"""Shapes that are computed although all but one of their axes are known become constants."""

import numpy as np
import onnx_ir as ir

from vit_export.graph.builder import constant, initializer

LEFT_OVER = -1
"""Reshape's word for the axis that takes what the others leave."""


def fix_reshapes(model: ir.Model) -> int:
    """Gives every Reshape a constant shape where its output has at most one unknown axis."""
    computed = [n for n in model.graph if n.op_type == "Reshape" and constant(n.inputs[1]) is None]
    return sum(_fix(model.graph, node) for node in computed)


def _fix(graph: ir.Graph, node: ir.Node) -> bool:
    shape = node.outputs[0].shape
    if shape is None or sum(not isinstance(axis, int) for axis in shape) > 1:
        return False
    axes = [axis if isinstance(axis, int) else LEFT_OVER for axis in shape]
    name = f"{node.outputs[0].name}/shape"
    node.replace_input_with(1, initializer(graph, name, np.array(axes, np.int64)))
    return True
