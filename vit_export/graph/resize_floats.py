"""Pillow's resize in 64-bit and 32-bit floats: the fastest form, as `model.resize` computes it.

The functions follow those of `model.resize` and compute the same numbers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from vit_export.data.pillow_resize import HALF_BITS, MAX_VALUE, SHARPNESS, TINY, WEIGHT_BITS
from vit_export.data.preprocessing import Preprocessing
from vit_export.graph.builder import NodeBuilder

INT, DOUBLE = np.int32, np.float64
ZERO, ONE = np.int64(0), np.int64(1)


@dataclass(frozen=True)
class Matrices:
    """The weights of all rows and of all columns, upper halves before lower halves."""

    rows: ir.Value
    """(2·h, H)."""
    columns: ir.Value
    """(W, 2·w)."""
    crop: tuple[int, int]
    """h and w."""
    dtype: ClassVar = ir.DataType.INT32
    """Type of the pixels after a pass."""

    def add_pass(self, write: NodeBuilder, x: ir.Value, axis: int) -> ir.Value:
        """Return the pixels (B, C, H, W) after a pass along axis 2 or 3."""
        x = write("Cast", x, to=ir.DataType.FLOAT)
        product = (self.rows, x) if axis == 2 else (x, self.columns)  # noqa: PLR2004 NCHW
        return _add_rounding(write, write("MatMul", *product), axis - 4, self.crop[axis - 2])


def add_matrices(
    write: NodeBuilder,
    preprocessing: Preprocessing,
    sizes: Sequence[ir.Value],
    resized: Sequence[ir.Value],
    first: Sequence[ir.Value],
) -> Matrices:
    """Return the weights of a resize.

    Args:
        write: adds the nodes.
        preprocessing: the crop and the filter.
        sizes: height and width of the image, (1,) in int64 like `resized` and `first`.
        resized: height and width of the resized image.
        first: first row and first column of the crop.
    """
    sides = zip(sizes, resized, first, preprocessing.crop, strict=True)
    rows, columns = (_add_weights(write, preprocessing.interpolation, side) for side in sides)
    columns = write("Transpose", columns, perm=[1, 0])
    return Matrices(rows, columns, preprocessing.crop)


def _vector(value: int) -> npt.NDArray[np.int64]:
    return np.array([value], np.int64)


def _add_weights(
    write: NodeBuilder,
    interpolation: str,
    side: tuple[ir.Value, ir.Value, ir.Value, int],
) -> ir.Value:
    """Return the weights of all pixels of a side for each pixel of the crop, (2·crop, size)."""
    size, resized, first, crop = side
    pixel = write("Range", ZERO, write("Squeeze", size), ONE)
    at = write("Add", first, np.arange(crop)[:, None])
    pixel = write("Mul", write("Add", write("Mul", pixel, _vector(2)), _vector(1)), resized)
    at = write("Mul", write("Add", write("Mul", at, _vector(2)), _vector(1)), size)
    apart = write("Cast", write("Abs", write("Sub", pixel, at)), to=ir.DataType.DOUBLE)
    coarser = write("Mul", write("Max", size, resized), _vector(2))
    distance = write("Div", apart, write("Cast", coarser, to=ir.DataType.DOUBLE))
    return _add_halves(write, _add_filter(write, interpolation, distance))


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
    """Return int32 pixels: `sums` are `length` over upper halves, then over lower, along `axis`."""
    sums = write("Cast", sums, to=ir.DataType.INT32)
    lengths = write.add_constant(f"halves_of_{2 * length}", np.array([length, length]))
    upper, lower = write.add("Split", (sums, lengths), ("0", "1"), axis=axis)
    total = write("Add", write("Mul", upper, INT(2**HALF_BITS)), lower)
    total = write("Add", total, INT(2 ** (WEIGHT_BITS - 1)))
    pixel = write("Div", write("Max", total, INT(0)), INT(2**WEIGHT_BITS))
    return write("Min", pixel, INT(MAX_VALUE))
