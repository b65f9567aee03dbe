"""Convolutions of disjoint patches of the image as products of rows, which can be quantized.

ONNX Runtime's CPU provider has integer matrix products, but no ConvInteger
(microsoft/onnxruntime#15888).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from vit_export.graph.builder import NodeBuilder, read_constant
from vit_export.graph.shapes import Dimension, Dimensions, merge_dimensions, read_shape

IMAGE_AXES = 4
"""Number of axes of images, (B, C, H, W)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Patches:
    """A convolution whose patches are disjoint, and cover the image but for a rim."""

    image: ir.Value
    """(B, C, H, W)"""
    batch: Dimension
    weight: npt.NDArray[np.float32]
    """(D, C, h, w)"""
    bias: npt.NDArray[np.float32]
    """(D,)"""
    grid: tuple[int, int]
    """Numbers of patches: rows and columns."""
    has_rim: bool


def unfold_patches(model: ir.Model) -> int:
    """Replace each convolution of the image by a Gemm, if its patches are disjoint.

    Return the number of changes.
    """
    image = model.graph.inputs[0]
    nodes = [use.node for use in image.uses() if use.node.op_type == "Conv"]
    return sum(_unfold(model, node) for node in nodes)


def _unfold(model: ir.Model, node: ir.Node) -> bool:
    patches = _match_patches(node)
    if patches is None:
        return False
    build, (rows, columns) = NodeBuilder(model, node), patches.grid
    count, channels, height, width = patches.weight.shape
    image = patches.image
    if patches.has_rim:
        ends = [rows * height, columns * width]
        shape: Dimensions = (patches.batch, channels, *ends)
        image = build("Slice", image, [0, 0], ends, [2, 3], shape=shape)
    cut = (channels, rows, height, columns, width)
    pixels = build("Reshape", image, [-1, *cut], shape=(patches.batch, *cut))
    order = [0, 2, 4, 1, 3, 5]  # (B, rows, columns, C, h, w)
    turned = [(patches.batch, *cut)[axis] for axis in order]
    pixels = build("Transpose", pixels, perm=order, shape=turned)
    total = merge_dimensions((patches.batch, rows, columns))
    inner = channels * height * width
    pixels = build("Reshape", pixels, [-1, inner], shape=(total, inner))
    weight = build.add_constant("unfolded", patches.weight.reshape(count, -1))
    bias = build.add_constant("bias", patches.bias)
    tokens = build("Gemm", pixels, weight, bias, transB=1, shape=(total, count))
    grid = (patches.batch, rows, columns, count)
    tokens = build("Reshape", tokens, [-1, *grid[1:]], shape=grid)
    build.replace_anchor(build("Transpose", tokens, perm=[0, 3, 1, 2]))
    return True


def _match_patches(node: ir.Node) -> Patches | None:
    image, weight, *rest = node.inputs
    shape, array = read_shape(image), read_constant(weight)
    bias = read_constant(rest[0]) if rest else None
    if image is None or shape is None or array is None or array.ndim != IMAGE_AXES:
        return None
    sizes, side = shape[2:], array.shape[2:]
    known = len(shape) == IMAGE_AXES and all(isinstance(one, int) for one in sizes)
    if not known or array.shape[1] != shape[1] or not _is_disjoint(node, side):
        return None
    rows, columns = (int(str(size)) // one for size, one in zip(sizes, side, strict=True))
    return Patches(
        image=image,
        batch=shape[0],
        weight=array,
        bias=np.zeros(len(array), np.float32) if bias is None else bias,
        grid=(rows, columns),
        has_rim=sizes != (rows * side[0], columns * side[1]),
    )


def _is_disjoint(node: ir.Node, side: tuple[int, ...]) -> bool:
    """Whether the strides of a convolution are its sides, and nothing else is set."""
    attributes = node.attributes
    return (
        tuple(attributes.get_ints("strides", ())) == side
        and not any(attributes.get_ints("pads", ()))
        and set(attributes.get_ints("dilations", (1,))) == {1}
        and attributes.get_int("group", 1) == 1
        and attributes.get_string("auto_pad", "NOTSET") in {"NOTSET", "VALID"}
    )
