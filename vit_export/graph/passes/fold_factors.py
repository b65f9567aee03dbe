"""Multiply weights by the constant factor behind them: attention's scale, and layer scales."""

import numpy as np
import onnx_ir as ir

from vit_export.graph.builder import bypass, find_producer, read_constant
from vit_export.graph.projections import (
    Array,
    change_columns,
    find_projection,
    has_one_reader,
    replace_constant,
)
from vit_export.graph.shapes import read_shape

MOVES = frozenset({"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity"})
"""Operators that a factor for all elements may pass."""
WHOLE = slice(None)


def fold_factors(model: ir.Model) -> int:
    """Fold each Mul or Div by a constant into the weights that compute its input.

    One number passes transposes, reshapes, the part of a Split and the scores of an attention. A
    factor for each channel has to stand right behind the projection or the norm. Return the number
    of changes.
    """
    nodes = [node for node in model.graph if node.op_type in {"Mul", "Div"}]
    return sum(_fold(model, node) for node in nodes)


def _fold(model: ir.Model, node: ir.Node) -> bool:
    match = _match_factor(node)
    if match is None:
        return False
    value, factor = match
    if not has_one_reader(value) or not _scale(model.graph, value, factor):
        return False
    bypass(model.graph, node, value)
    return True


def _match_factor(node: ir.Node) -> tuple[ir.Value, Array] | None:
    """Return the input of `node` and its factor: one number, or one for each channel."""
    for value, other in (node.inputs, reversed(node.inputs)):
        factor, shape = read_constant(other), read_shape(value)
        if factor is None or value is None or shape is None or factor.dtype != np.float32:
            continue
        if factor.ndim > len(shape) or factor.size not in {
            1,
            factor.shape[-1] if factor.ndim else 1,
        }:
            continue
        if factor.size not in {1, shape[-1]} or (node.op_type == "Div" and other is node.inputs[0]):
            continue
        return value, (1 / factor if node.op_type == "Div" else factor).reshape(-1)
    return None


def _scale(graph: ir.Graph, value: ir.Value, factor: Array) -> bool:
    """Multiply the weights that compute `value`, if nothing else reads what they compute."""
    if factor.size > 1:
        return _scale_source(graph, value, factor, WHOLE)
    columns, source = WHOLE, _pass_scores(value)
    while has_one_reader(source) and source is not None:
        if _scale_source(graph, source, factor, columns):
            return True
        node = source.producer()
        if node is None or columns != WHOLE:
            return False
        if node.op_type == "Split":
            part = _part_columns(node, source)
            if part is None:
                return False
            columns = part
        elif node.op_type not in MOVES:
            return False
        source = node.inputs[0]
    return False


def _pass_scores(value: ir.Value) -> ir.Value | None:
    """Return the queries if `value` is their product with keys, else `value`."""
    scores = find_producer(value, "MatMul")
    if scores is None or any(read_constant(one) is not None for one in scores.inputs):
        return value
    return scores.inputs[0]


def _part_columns(split: ir.Node, part: ir.Value) -> slice | None:
    """Return the columns of the Split's input that `part` has, or None if it has rows."""
    shapes = [read_shape(one) for one in split.outputs]
    widths = [shape[-1] for shape in shapes if shape is not None]
    rank = len(shapes[0] or ())
    if len(widths) < len(shapes) or split.attributes.get_int("axis", 0) not in {-1, rank - 1}:
        return None
    if any(not isinstance(width, int) for width in widths):
        return None
    number = list(split.outputs).index(part)
    bounds = np.cumsum([0, *widths])
    return slice(int(bounds[number]), int(bounds[number + 1]))


def _scale_source(graph: ir.Graph, value: ir.Value, factor: Array, columns: slice) -> bool:
    """Multiply the columns of the projection, or the norm's weights, that compute `value`."""

    def scale(array: Array) -> Array:
        scaled = array.copy()
        scaled[..., columns] *= factor
        return scaled

    projection = find_projection(value)
    if projection is not None:
        change_columns(graph, projection, scale)
        return True
    convolution = find_producer(value, "Conv")
    if convolution is not None and factor.size == 1 and columns == WHOLE:
        return _scale_inputs(graph, convolution, factor)
    norm = find_producer(value, "LayerNormalization")
    weights = [read_constant(one) for one in norm.inputs[1:]] if norm is not None else []
    if norm is None or any(one is None or one.ndim != 1 for one in weights):
        return False
    for index, array in enumerate(weights, 1):
        if array is not None:
            replace_constant(graph, norm, index, scale(array))
    return True


def _scale_inputs(graph: ir.Graph, convolution: ir.Node, factor: Array) -> bool:
    """Multiply the weight and the bias of a Conv by one number."""
    arrays = [read_constant(one) for one in convolution.inputs[1:] if one is not None]
    if any(array is None for array in arrays):
        return False
    for index, array in enumerate(arrays, 1):
        if array is not None:
            replace_constant(graph, convolution, index, array * factor)
    return True
