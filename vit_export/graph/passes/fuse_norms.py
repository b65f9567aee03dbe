"""Write norms over channels, spelled out with a mean and a variance, as LayerNormalization."""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from vit_export.graph.builder import (
    NodeBuilder,
    find_input,
    find_producer,
    find_reader,
    read_constant,
)
from vit_export.graph.projections import Array
from vit_export.graph.shapes import Dimensions, read_shape

BROADCASTS = frozenset({"Reshape", "Expand", "Unsqueeze", "Identity"})
"""What exporters write to repeat a mean or a variance over the channels."""
SQUARE = 2
"""Exponent of a Pow that is a square."""


@dataclass(frozen=True, eq=False)
class Norm:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias over one axis."""

    input: ir.Value
    shape: Dimensions
    axis: int
    epsilon: float
    last: ir.Node
    """The node whose output is the norm's."""
    scale: Array
    bias: Array | None


def fuse_norms(model: ir.Model) -> int:
    """Replace each such norm by LayerNormalization; return the number of changes.

    Channels that are not last are transposed there and back.
    """
    matches = [_match(node) for node in model.graph if node.op_type == "Div"]
    norms = [norm for norm in matches if norm is not None]
    for norm in norms:
        _replace(model, norm)
    return len(norms)


def _match(div: ir.Node) -> Norm | None:
    centered, root = find_producer(div.inputs[0], "Sub"), find_producer(div.inputs[1], "Sqrt")
    stabilized = find_input(root, "Add")
    x = centered.inputs[0] if centered is not None else None
    shape = read_shape(x)
    if stabilized is None or x is None or shape is None:
        return None
    for variance, other in (stabilized.inputs, reversed(stabilized.inputs)):
        epsilon, axis = read_constant(other), _find_axis(variance, x, len(shape))
        if epsilon is None or epsilon.size != 1 or axis is None:
            continue
        if _mean_axis(centered.inputs[1] if centered else None, x, len(shape)) == axis:
            return _with_affine(div, x, shape, axis, float(epsilon.item()))
    return None


def _find_axis(variance: ir.Value | None, x: ir.Value, rank: int) -> int | None:
    """Return the axis over which `variance` is the mean square of what is left of `x`."""
    mean = find_producer(_skip_broadcasts(variance), "ReduceMean")
    square = mean.inputs[0].producer() if mean is not None and mean.inputs[0] is not None else None
    if square is None or square.op_type not in {"Mul", "Pow"}:
        return None
    exponent = read_constant(square.inputs[1]) if square.op_type == "Pow" else None
    if square.op_type == "Mul" and square.inputs[0] is not square.inputs[1]:
        return None
    if square.op_type == "Pow" and (exponent is None or np.any(exponent != SQUARE)):
        return None
    centered = find_producer(square.inputs[0], "Sub")
    if centered is None or centered.inputs[0] is not x:
        return None
    axis = _mean_axis(centered.inputs[1], x, rank)
    return axis if axis == _read_axis(mean, rank) else None


def _mean_axis(mean: ir.Value | None, x: ir.Value, rank: int) -> int | None:
    """Return the axis over which `mean` is the mean of `x`."""
    node = find_producer(_skip_broadcasts(mean), "ReduceMean")
    return _read_axis(node, rank) if node is not None and node.inputs[0] is x else None


def _read_axis(node: ir.Node | None, rank: int) -> int | None:
    axes = read_constant(node.inputs[1]) if node is not None and len(node.inputs) > 1 else None
    return int(axes.item()) % rank if axes is not None and axes.size == 1 else None


def _skip_broadcasts(value: ir.Value | None) -> ir.Value | None:
    while value is not None:
        node = value.producer()
        if node is None or node.op_type not in BROADCASTS:
            break
        value = node.inputs[0]
    return value


def _with_affine(
    div: ir.Node, x: ir.Value, shape: Dimensions, axis: int, epsilon: float
) -> Norm | None:
    """Return the norm with the factor and the bias of each channel that follow it."""
    channels = shape[axis]
    if not isinstance(channels, int):
        return None
    last, scale, bias = div, np.ones(channels, np.float32), None
    for op_type in ("Mul", "Add"):
        reader = find_reader(last, op_type)
        array = _read_channels(reader, last, axis - len(shape), channels)
        if reader is None or array is None or last.outputs[0].is_graph_output():
            continue
        scale, bias = (array, None) if op_type == "Mul" else (scale, array)
        last = reader
    return Norm(x, shape, axis, epsilon, last, scale, bias)


def _read_channels(reader: ir.Node | None, node: ir.Node, axis: int, channels: int) -> Array | None:
    """Return the constant operand of `reader` if it has one number for each channel."""
    if reader is None:
        return None
    array = read_constant(reader.inputs[1 if reader.inputs[0] is node.outputs[0] else 0])
    if array is None or array.dtype != np.float32 or array.ndim < -axis or array.size != channels:
        return None
    return array.reshape(-1) if array.shape[axis] == channels else None


def _replace(model: ir.Model, norm: Norm) -> None:
    build = NodeBuilder(model, norm.last)
    rank, value, shape = len(norm.shape), norm.input, norm.shape
    back = list(range(rank))
    back.insert(norm.axis, back.pop())
    there = [axis for axis in range(rank) if axis != norm.axis] + [norm.axis]
    if norm.axis != rank - 1:
        shape = tuple(shape[axis] for axis in there)
        value = build("Transpose", value, perm=there, shape=shape)
    weights = [norm.scale] if norm.bias is None else [norm.scale, norm.bias]
    words = zip(("scale", "bias"), weights, strict=False)
    inputs = [build.add_constant(word, array) for word, array in words]
    value = build("LayerNormalization", value, *inputs, axis=-1, epsilon=norm.epsilon, shape=shape)
    if norm.axis != rank - 1:
        value = build("Transpose", value, perm=back, shape=norm.shape)
    build.replace_anchor(value)
