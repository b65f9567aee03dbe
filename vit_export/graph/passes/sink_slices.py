"""Take a few rows before the nodes that would compute all of them: a class token's, mostly."""

import onnx_ir as ir

from vit_export.graph.builder import NodeBuilder
from vit_export.graph.row_axes import find_input_axes
from vit_export.graph.shapes import read_shape, reshape_target
from vit_export.graph.slices import Cut, add_cut, read_cut

FEW = 0.5
"""Largest part of an axis that is worth a Slice of its own at an earlier place."""


def sink_slices(model: ir.Model) -> int:
    """Move each Slice that takes less than half of an axis before the node that it reads.

    That holds for a Gather of one element too. A node that others read stays as it is; equal slices
    of one value become one, so that both branches of a residual count as one reader. Return the
    number of moves.
    """
    changes = 0
    while moves := sum(_move(model, node) for node in _find_slices(model)):
        changes += moves
    return changes


def _find_slices(model: ir.Model) -> list[ir.Node]:
    """Return the slices that may move, after equal ones became one."""
    slices: dict[tuple[ir.Value | None, str, Cut], ir.Node] = {}
    for node in [node for node in model.graph if node.op_type in {"Slice", "Gather"}]:
        cut = read_cut(node)
        if cut is None or cut.length >= FEW * cut.whole or node.outputs[0].is_graph_output():
            continue
        first = slices.setdefault((node.inputs[0], node.op_type, cut), node)
        if first is not node:
            ir.convenience.replace_all_uses_with(node.outputs[0], first.outputs[0])
            model.graph.remove(node, safe=True)
    return list(slices.values())


def _move(model: ir.Model, node: ir.Node) -> bool:
    """Let the node that `node` reads compute only the rows that `node` takes."""
    cut, value = read_cut(node), node.inputs[0]
    producer = value.producer() if value is not None else None
    if cut is None or value is None or producer is None or value.is_graph_output():
        return False
    if any(use.node is not node for use in value.uses()):
        return False
    axes, shape = find_input_axes(producer, cut.axis), read_shape(value)
    if axes is None or shape is None:
        return producer.op_type == "Concat" and _pick_part(model, node, producer, cut)
    target = reshape_target(cut.shape(shape))
    if producer.op_type == "Reshape" and target is None:
        return False
    build = NodeBuilder(model, producer, f"{producer.name}/{cut.axis}_{cut.start}_{cut.end}")
    for index, axis in enumerate(axes):
        source = producer.inputs[index]
        if axis is not None and source is not None:
            producer.replace_input_with(index, add_cut(build, source, cut.move(axis)))
    if producer.op_type == "Reshape" and target is not None:
        producer.replace_input_with(1, build.add_constant("shape", target))
    value.shape = ir.Shape(cut.shape(shape))
    _remove_slice(model, node, cut, value)
    return True


def _remove_slice(model: ir.Model, node: ir.Node, cut: Cut, value: ir.Value) -> None:
    """Put `value`, which has the rows of `node` alone, in its place; a Gather drops the axis."""
    if node.op_type == "Gather":
        build = NodeBuilder(model, node)
        shape = read_shape(node.outputs[0])
        value = build("Squeeze", value, [cut.axis], shape=shape)
    ir.convenience.replace_all_uses_with(node.outputs[0], value)
    model.graph.remove(node, safe=True)


def _pick_part(model: ir.Model, node: ir.Node, concat: ir.Node, cut: Cut) -> bool:
    """Read the rows from the one input of a Concat that has them."""
    shapes = [read_shape(value) for value in concat.inputs]
    if None in shapes or concat.attributes.get_int("axis", 0) % len(shapes[0] or ()) != cut.axis:
        return False
    start = 0
    for value, shape in zip(concat.inputs, shapes, strict=True):
        length = shape[cut.axis] if shape is not None else None
        if value is None or not isinstance(length, int):
            return False
        if start <= cut.start and cut.end <= start + length:
            own = Cut(cut.axis, cut.start - start, cut.end - start, length)
            build = NodeBuilder(model, node, f"{node.name}/part")
            _remove_slice(model, node, cut, add_cut(build, value, own))
            return True
        start += length
    return False
