"""Write the sizes of a Split's parts into it: WebGPU in onnxruntime-web refuses `num_outputs`."""

import numpy as np
import onnx_ir as ir

from vit_export.graph.builder import add_initializer


def write_split_sizes(model: ir.Model) -> int:
    """Give every Split with `num_outputs` its sizes as a constant; return the number of changes.

    A Split along an axis of unknown length stays as it is.
    """
    splits = [node for node in model.graph if node.op_type == "Split"]
    return sum(_write_sizes(model.graph, split) for split in splits)


def _write_sizes(graph: ir.Graph, split: ir.Node) -> bool:
    source, axis = split.inputs[0], split.attributes.get_int("axis", 0)
    if "num_outputs" not in split.attributes or source is None or source.shape is None:
        return False
    length = source.shape[axis]
    if not isinstance(length, int):
        return False
    parts = len(split.outputs)
    size = -(-length // parts)  # the standard rounds up; the last part is what remains
    sizes = np.array([size] * (parts - 1) + [length - size * (parts - 1)], np.int64)
    split.attributes.pop("num_outputs")
    split.resize_inputs(2)
    split.replace_input_with(1, add_initializer(graph, f"{split.outputs[0].name}/sizes", sizes))
    return True
