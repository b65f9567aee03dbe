"""Fold BatchNormalization into the convolution or the projection before it."""

import numpy as np
import onnx_ir as ir

from vit_export.graph.builder import bypass, find_producer, read_constant
from vit_export.graph.projections import (
    Array,
    add_bias,
    change_columns,
    find_projection,
    has_one_reader,
    replace_constant,
)
from vit_export.graph.shapes import read_shape

NORM_INPUTS = slice(1, 5)
"""Scale, bias, mean and variance."""
BIAS = 2
"""Input of a Conv."""
ROW_AXES = 2
"""Number of axes of rows."""


def fold_batch_norms(model: ir.Model) -> int:
    """Fold each BatchNormalization behind a Conv or a projection into its weights.

    The node before it must have no other reader. Return the number of changes.
    """
    norms = [node for node in model.graph if node.op_type == "BatchNormalization"]
    return sum(_fold(model, node) for node in norms)


def _fold(model: ir.Model, norm: ir.Node) -> bool:
    value, affine = norm.inputs[0], _read_affine(norm)
    if value is None or affine is None or not has_one_reader(value):
        return False
    convolution = find_producer(value, "Conv")
    if convolution is not None:
        folded = _fold_into_convolution(model.graph, convolution, *affine)
    else:
        folded = _fold_into_projection(model.graph, value, *affine)
    source = norm.inputs[0]  # a new bias stands between them
    if folded and source is not None:
        bypass(model.graph, norm, source)
    return folded


def _read_affine(norm: ir.Node) -> tuple[Array, Array] | None:
    """Return what the norm multiplies each channel by and what it adds, in float64."""
    arrays = [read_constant(value) for value in norm.inputs[NORM_INPUTS]]
    known = [array.astype(np.float64) for array in arrays if array is not None]
    if len(known) < len(arrays) or len(norm.outputs) > 1:
        return None
    scale, bias, mean, variance = known
    factor = scale / np.sqrt(variance + norm.attributes.get_float("epsilon", 1e-5))
    return factor, bias - mean * factor


def _fold_into_convolution(
    graph: ir.Graph, convolution: ir.Node, factor: Array, shift: Array
) -> bool:
    weight = read_constant(convolution.inputs[1])
    has_bias = len(convolution.inputs) > BIAS and convolution.inputs[BIAS] is not None
    bias = read_constant(convolution.inputs[BIAS]) if has_bias else np.zeros(len(factor))
    if weight is None or bias is None:
        return False
    scales = factor.reshape(-1, *[1] * (weight.ndim - 1))
    replace_constant(graph, convolution, 1, weight * scales)
    convolution.resize_inputs(BIAS + 1)
    replace_constant(graph, convolution, BIAS, bias * factor + shift)
    return True


def _fold_into_projection(graph: ir.Graph, value: ir.Value, factor: Array, shift: Array) -> bool:
    """Fold into a projection to rows; a Reshape may have made them of tokens."""
    shape, reshape = read_shape(value), find_producer(value, "Reshape")
    if shape is None or len(shape) != ROW_AXES:
        return False  # the norm's channels are not the projection's columns
    if reshape is not None:
        tokens = read_shape(reshape.inputs[0])
        if tokens is None or tokens[-1] != shape[-1] or not has_one_reader(reshape.inputs[0]):
            return False
        value = reshape.inputs[0] or value
    projection = find_projection(value)
    if projection is None:
        return False
    change_columns(graph, projection, lambda array: array * factor)
    projection = find_projection(value)
    if projection is not None:
        add_bias(graph, projection, shift)
    return True
