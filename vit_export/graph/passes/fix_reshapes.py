"""Replace the computed shape of a Reshape by a constant if at most one output axis is unknown."""

import numpy as np
import onnx_ir as ir

from vit_export.graph.builder import add_initializer, read_constant
from vit_export.graph.shapes import INFER_AXIS


def fix_reshapes(model: ir.Model) -> int:
    """Make the shape of every such Reshape a constant; return the number of changes."""
    reshapes = [node for node in model.graph if node.op_type == "Reshape"]
    computed = [node for node in reshapes if read_constant(node.inputs[1]) is None]
    return sum(_fix_shape(model.graph, node) for node in computed)


def _fix_shape(graph: ir.Graph, node: ir.Node) -> bool:
    shape = node.outputs[0].shape
    if shape is None or sum(not isinstance(axis, int) for axis in shape) > 1:
        return False
    axes = [axis if isinstance(axis, int) else INFER_AXIS for axis in shape]
    name = f"{node.outputs[0].name}/shape"
    node.replace_input_with(1, add_initializer(graph, name, np.array(axes, np.int64)))
    return True
