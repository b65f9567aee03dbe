"""Pillow's resize and centre crop in standard ONNX operators: `model.resize` as a graph.

B is the batch, H and W are the sides of its images, h and w those of the crop.
"""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from vit_export.data.pillow_resize import compute_normalization, fold_into_convolution
from vit_export.data.preprocessing import Preprocessing
from vit_export.graph.builder import NodeBuilder, add_initializer, read_constant
from vit_export.graph.passes.infer_shapes import infer_shapes
from vit_export.graph.passes.remove_unused import remove_unused
from vit_export.graph.resize_floats import Matrices, add_matrices
from vit_export.graph.resize_integers import Windows, add_windows

SCOPE = "pixels"
ROWS, COLUMNS = 2, 3
"""Axes of a batch (B, C, H, W)."""


def take_pixels(
    model: ir.Model,
    preprocessing: Preprocessing,
    *,
    columns_first: bool,
    normalizes: bool,
    in_integers: bool = False,
) -> None:
    """Change the input of `model` to uint8 images (B, H, W, C) of any size, in place.

    Args:
        model: a graph whose only input is (B, C, h, w).
        preprocessing: the preprocessing of the model.
        columns_first: whether the pass along columns comes first where an image loses more than
            twice as many rows as columns (`pillow_resize.columns_may_come_first`).
        normalizes: whether the graph normalizes pixels; False after `fold_normalization`, which
            makes the patch convolution take pixels from 0 to 255.
        in_integers: whether pixels are resized in int32 throughout (`resize_integers`), which
            cannot compute `lanczos`.

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
    sizes = [write("Shape", image, start=axis, end=axis + 1) for axis in (1, 2)]
    resized = _add_resized_sizes(write, preprocessing, sizes)
    add_weights = add_windows if in_integers else add_matrices
    first = [
        _add_first_pixel(write, preprocessing, *pair)
        for pair in zip(resized, preprocessing.crop, strict=True)
    ]
    weights = add_weights(write, preprocessing, sizes, resized, first)
    order = _add_order(write, sizes, resized) if columns_first else None
    crop = _add_passes(write, weights, image, old_input.shape, order)
    if normalizes:
        factor, summand = (
            array.astype(np.float32) for array in compute_normalization(preprocessing)
        )
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


def _add_resized_sizes(
    write: NodeBuilder, preprocessing: Preprocessing, sizes: Sequence[ir.Value]
) -> list[ir.Value]:
    """Return height and width of the resized image, before the crop."""
    if not isinstance(preprocessing.resize, int):
        sides = zip(("height", "width"), preprocessing.resize, strict=True)
        return [write.add_constant(f"resized_{word}", np.array([side])) for word, side in sides]
    shorter = write("Min", *sizes)
    length = np.array([preprocessing.resize])
    return [write("Div", write("Mul", size, length), shorter) for size in sizes]


def _add_first_pixel(
    write: NodeBuilder, preprocessing: Preprocessing, resized: ir.Value, crop: int
) -> ir.Value:
    """Return the first pixel of the crop; half a pixel is rounded down, or to even."""
    margin = write("Sub", resized, np.array([crop]))
    half = write("Div", margin, np.array([2]))
    if preprocessing.centre == "floor":
        return half
    both_odd = write("Mul", write("Mod", margin, np.array([2])), write("Mod", half, np.array([2])))
    return write("Add", half, both_odd)


def _add_order(
    write: NodeBuilder, sizes: Sequence[ir.Value], resized: Sequence[ir.Value]
) -> ir.Value:
    """Return whether an image is so tall that the pass along rows comes first, a scalar."""
    rows, columns = (write("Sub", *pair) for pair in zip(sizes, resized, strict=True))
    tall = write("Greater", rows, write("Mul", columns, np.array([2])))
    return write("Squeeze", write("And", tall, write("Greater", rows, np.array([0]))))


def _add_passes(
    write: NodeBuilder,
    weights: Matrices | Windows,
    image: ir.Value,
    shape: ir.Shape,
    is_tall: ir.Value | None,
) -> ir.Value:
    """Return the crop of the resized image, pixels from 0 to 255 in fp32; `shape` (B, C, h, w).

    OpenVINO 2026.4 copies the output of an If to one of its readers only where its size changes:
    the Cast is this reader, and gives the others what they read.
    """
    x = write("Transpose", image, perm=[0, 3, 1, 2])

    def resize(*axes: int) -> ir.Value:
        pixels = x
        for axis in axes:
            pixels = weights.add_pass(write, pixels, axis)
        return pixels

    def resize_in_branch(*axes: int) -> list[ir.Value]:
        pixels = resize(*axes)
        # inference sees no constants from outside a branch
        pixels.shape, pixels.type = shape, ir.TensorType(weights.dtype)
        return [pixels]

    if is_tall is None:
        pixels = resize(COLUMNS, ROWS)
    else:
        rows_first = write.add_subgraph(lambda: resize_in_branch(ROWS, COLUMNS))
        columns_first = write.add_subgraph(lambda: resize_in_branch(COLUMNS, ROWS))
        pixels = write("If", is_tall, then_branch=rows_first, else_branch=columns_first)
    return write("Cast", pixels, to=ir.DataType.FLOAT)
