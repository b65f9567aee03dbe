"""Pillow's resize and centre crop in standard ONNX operators: `model.resize` as a graph.

The functions follow those of `model.resize` and compute the same numbers. B is the batch, H and W
are the sides of its images, h and w those of the crop.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from vit_export.data.pillow_resize import (
    HALF_BITS,
    MAX_VALUE,
    SHARPNESS,
    TINY,
    WEIGHT_BITS,
    compute_normalization,
    fold_into_convolution,
)
from vit_export.data.preprocessing import Preprocessing
from vit_export.graph.builder import NodeBuilder, add_initializer, read_constant
from vit_export.graph.passes.infer_shapes import infer_shapes
from vit_export.graph.passes.remove_unused import remove_unused

SCOPE = "pixels"
INT, FLOAT, DOUBLE = np.int32, np.float32, np.float64
ZERO, ONE = np.int64(0), np.int64(1)

Side = ir.Value | npt.NDArray[np.int64]
"""A length in pixels, (1,): a constant, or computed from the image."""


def take_pixels(
    model: ir.Model, preprocessing: Preprocessing, *, columns_first: bool, normalizes: bool
) -> None:
    """Change the input of `model` to uint8 images (B, H, W, C) of any size, in place.

    Args:
        model: a graph whose only input is (B, C, h, w).
        preprocessing: the preprocessing of the model.
        columns_first: whether the pass along columns comes first where an image loses more than
            twice as many rows as columns (`pillow_resize.columns_may_come_first`).
        normalizes: whether the graph normalizes pixels; False after `fold_normalization`, which
            makes the patch convolution take pixels from 0 to 255.

    Raises:
        ValueError: the graph does not record the shape of its input.
    """
    graph = model.graph
    (old_input,) = graph.inputs
    if old_input.shape is None:
        raise ValueError("the graph does not record the shape of its input")
    batch, channels, *_ = old_input.shape
    image = ir.Value(
        name=old_input.name,
        shape=ir.Shape([batch, "height", "width", channels]),
        type=ir.TensorType(ir.DataType.UINT8),
    )
    write = NodeBuilder(model, graph[0], scope=SCOPE)
    crop = _add_resize(write, preprocessing, image, old_input.shape, columns_first=columns_first)
    if normalizes:
        factor, summand = (array.astype(FLOAT) for array in compute_normalization(preprocessing))
        crop = write("Add", write("Mul", crop, factor), summand)
    crop.name, crop.shape, crop.type = f"{SCOPE}/answer", old_input.shape, old_input.type
    old_input.name = f"{SCOPE}/former"
    ir.convenience.replace_all_uses_with(old_input, crop)
    graph.inputs[0] = image
    infer_shapes(model)


def fold_normalization(model: ir.Model, preprocessing: Preprocessing) -> None:
    """Make the patch convolution of the fp32 graph `model` take pixels from 0 to 255, in place.

    Raises:
        ValueError: the convolution has no constant kernel.
    """
    readers = (use.node for use in model.graph.inputs[0].uses())
    (convolution,) = (node for node in readers if node.op_type == "Conv")
    kernel, bias, *_ = (*map(read_constant, convolution.inputs[1:]), None)
    if kernel is None:
        raise ValueError("the patch convolution has no constant kernel")
    convolution.resize_inputs(3)
    for position, array in enumerate(fold_into_convolution(kernel, bias, preprocessing), 1):
        name = f"{convolution.name}/of_levels_{position}"
        convolution.replace_input_with(position, add_initializer(model.graph, name, array))
    remove_unused(model)


def _vector(value: int) -> npt.NDArray[np.int64]:
    return np.array([value], np.int64)


def _add_resize(
    write: NodeBuilder,
    preprocessing: Preprocessing,
    image: ir.Value,
    shape: ir.Shape,
    *,
    columns_first: bool,
) -> ir.Value:
    """Return the crop of the resized image, pixels from 0 to 255 in fp32; `shape` (B, C, h, w)."""
    sizes = [write("Shape", image, start=axis, end=axis + 1) for axis in (1, 2)]
    resized = _add_resized_sizes(write, preprocessing, sizes)
    height, width = preprocessing.crop
    rows = _add_weights(write, preprocessing, sizes[0], resized[0], height)  # (2·h, H)
    columns = _add_weights(write, preprocessing, sizes[1], resized[1], width)  # (2·w, W)
    columns = write("Transpose", columns, perm=[1, 0])  # (W, 2·w)
    x = write("Cast", write("Transpose", image, perm=[0, 3, 1, 2]), to=ir.DataType.FLOAT)

    def resize_rows(x: ir.Value) -> ir.Value:
        return _add_rounding(write, write("MatMul", rows, x), -2, height)

    def resize_columns(x: ir.Value) -> ir.Value:
        return _add_rounding(write, write("MatMul", x, columns), -1, width)

    if not columns_first:
        return resize_rows(resize_columns(x))
    shrinkage = [write("Sub", *pair) for pair in zip(sizes, resized, strict=True)]
    tall = write("Greater", shrinkage[0], write("Mul", shrinkage[1], _vector(2)))
    tall = write("And", tall, write("Greater", shrinkage[0], _vector(0)))
    rows_before_columns = write.add_branch(lambda: resize_columns(resize_rows(x)), shape)
    columns_before_rows = write.add_branch(lambda: resize_rows(resize_columns(x)), shape)
    tall = write("Squeeze", tall)
    return write("If", tall, then_branch=rows_before_columns, else_branch=columns_before_rows)


def _add_resized_sizes(
    write: NodeBuilder, preprocessing: Preprocessing, sizes: Sequence[ir.Value]
) -> list[Side]:
    """Return height and width of the resized image, before the crop."""
    if not isinstance(preprocessing.resize, int):
        return [_vector(side) for side in preprocessing.resize]
    shorter = write("Min", *sizes)
    length = _vector(preprocessing.resize)
    return [write("Div", write("Mul", size, length), shorter) for size in sizes]


def _add_weights(
    write: NodeBuilder, preprocessing: Preprocessing, size: ir.Value, resized: Side, crop: int
) -> ir.Value:
    """Return the weights of all pixels of a side for each pixel of the crop, (2·crop, size)."""
    pixel = write("Range", ZERO, write("Squeeze", size), ONE)
    first = _add_first_pixel(write, preprocessing, resized, crop)
    at = write("Add", first, np.arange(crop)[:, None])
    pixel = write("Mul", write("Add", write("Mul", pixel, _vector(2)), _vector(1)), resized)
    at = write("Mul", write("Add", write("Mul", at, _vector(2)), _vector(1)), size)
    apart = write("Cast", write("Abs", write("Sub", pixel, at)), to=ir.DataType.DOUBLE)
    coarser = write("Mul", write("Max", size, resized), _vector(2))
    distance = write("Div", apart, write("Cast", coarser, to=ir.DataType.DOUBLE))
    return _add_halves(write, _add_filter(write, preprocessing.interpolation, distance))


def _add_first_pixel(
    write: NodeBuilder, preprocessing: Preprocessing, resized: Side, crop: int
) -> ir.Value:
    """Return the first pixel of the crop; half a pixel is rounded down, or to even."""
    margin = write("Sub", resized, _vector(crop))
    half = write("Div", margin, _vector(2))
    if preprocessing.centre == "floor":
        return half
    both_odd = write("Mul", write("Mod", margin, _vector(2)), write("Mod", half, _vector(2)))
    return write("Add", half, both_odd)


def _add_filter(write: NodeBuilder, interpolation: str, distance: ir.Value) -> ir.Value:
    """Return the filter's value at a `distance` from its centre, in pixels of the coarser grid."""
    if interpolation == "bilinear":
        return write("Max", write("Sub", DOUBLE(1), distance), DOUBLE(0))
    if interpolation == "bicubic":
        x = write("Min", distance, DOUBLE(1))
        y = write("Clip", distance, DOUBLE(1), DOUBLE(2))
        near = _add_polynomial(write, x, (SHARPNESS + 2, -(SHARPNESS + 3), 0, 1))
        far = _add_polynomial(write, y, [SHARPNESS * factor for factor in (1, -5, 8, -4)])
        return write("Add", near, far)
    angle = write("Mul", write("Clip", distance, DOUBLE(TINY), DOUBLE(3)), DOUBLE(math.pi))
    third = write("Div", angle, DOUBLE(3))
    lobes = [write("Div", write("Sin", lobe), lobe) for lobe in (angle, third)]
    return write("Mul", *lobes)


def _add_polynomial(write: NodeBuilder, x: ir.Value, factors: Sequence[float]) -> ir.Value:
    """Return a polynomial of x by Horner's rule; `factors` begin with the highest power."""
    value = write("Mul", x, DOUBLE(factors[0]))
    for factor in factors[1:-1]:
        value = write("Mul", write("Add", value, DOUBLE(factor)), x)
    return write("Add", value, DOUBLE(factors[-1]))


def _add_halves(write: NodeBuilder, weight: ir.Value) -> ir.Value:
    """Return normalized weights as whole numbers in fp32, upper halves before lower halves."""
    weight = write("Div", weight, write("ReduceSum", weight, _vector(1)))
    weight = write("Mul", weight, DOUBLE(2**WEIGHT_BITS))
    magnitude = write("Floor", write("Add", write("Abs", weight), DOUBLE(0.5)))
    whole = write("Mul", magnitude, write("Sign", weight))
    quotient = write("Add", write("Div", whole, DOUBLE(2**HALF_BITS)), DOUBLE(0.5))
    upper = write("Floor", quotient)
    lower = write("Sub", whole, write("Mul", upper, DOUBLE(2**HALF_BITS)))
    return write("Cast", write("Concat", upper, lower, axis=0), to=ir.DataType.FLOAT)


def _add_rounding(write: NodeBuilder, sums: ir.Value, axis: int, length: int) -> ir.Value:
    """Return pixels from `sums`: `length` sums over upper halves, then over lower, along `axis`."""
    sums = write("Cast", sums, to=ir.DataType.INT32)
    lengths = write.add_constant(f"halves_of_{2 * length}", np.array([length, length]))
    upper, lower = write.add("Split", (sums, lengths), ("0", "1"), axis=axis)
    total = write("Add", write("Mul", upper, INT(2**HALF_BITS)), lower)
    total = write("Add", total, INT(2 ** (WEIGHT_BITS - 1)))
    pixel = write("Div", write("Max", total, INT(0)), INT(2**WEIGHT_BITS))
    return write("Cast", write("Min", pixel, INT(MAX_VALUE)), to=ir.DataType.FLOAT)
