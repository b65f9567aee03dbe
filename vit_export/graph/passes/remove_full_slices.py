"""Remove slices that take everything: `x[:, 0]` is captured as one of them and a Gather."""

import onnx_ir as ir

from vit_export.graph.builder import read_constant
from vit_export.graph.shapes import read_shape
from vit_export.graph.slices import AXES, ENDS, STARTS, STEPS

NO_END = 2**31 - 1
"""Ends from here on stand for the end of any axis."""


def remove_full_slices(model: ir.Model) -> int:
    """Remove each Slice that takes all of its axes; return the number of removals."""
    slices = [node for node in model.graph if node.op_type == "Slice"]
    full = [node for node in slices if not node.outputs[0].is_graph_output() and _takes_all(node)]
    for node in full:
        if node.inputs[0] is not None:
            ir.convenience.replace_all_uses_with(node.outputs[0], node.inputs[0])
            model.graph.remove(node, safe=True)
    return len(full)


def _takes_all(node: ir.Node) -> bool:
    shape = read_shape(node.inputs[0])
    starts, ends = (_read_numbers(node, index) for index in (STARTS, ENDS))
    if shape is None or starts is None or ends is None:
        return False
    axes = _read_numbers(node, AXES) if len(node.inputs) > AXES else list(range(len(starts)))
    steps = _read_numbers(node, STEPS) if len(node.inputs) > STEPS else [1] * len(starts)
    if axes is None or steps is None or set(steps) != {1} or set(starts) != {0}:
        return False
    lengths = [shape[axis] for axis in axes]
    return all(
        end >= (length if isinstance(length, int) else NO_END)
        for end, length in zip(ends, lengths, strict=True)
    )


def _read_numbers(node: ir.Node, index: int) -> list[int] | None:
    array = read_constant(node.inputs[index])
    return None if array is None else [int(one) for one in array.reshape(-1)]
