"""Pillow's resize in 32-bit integers, for runtimes that have neither 64-bit floats nor integers.

OpenVINO computes fp64 in fp32 and int64 in int32, and its fp16 and bf16 modes compute fp32 in 16
bits. They leave int32 as it is. Here a weight is an exact quotient of integers with up to 60 bits,
rounded as Pillow rounds it, and a pass adds up one pixel after the other of each window.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from vit_export.data.pillow_resize import MAX_VALUE, WEIGHT_BITS
from vit_export.data.preprocessing import Preprocessing
from vit_export.graph.builder import NodeBuilder
from vit_export.graph.long_numbers import (
    HALF,
    INT,
    LongNumber,
    add_quotient,
    add_split,
    add_sum,
)

LARGEST = 30000
"""Distances are multiplied, so that pixels of the coarser grid lie just less than this apart."""
SUPPORT = {"bilinear": 1, "bicubic": 2}
"""Reach of the filters, in pixels of the coarser grid."""


@dataclass(frozen=True)
class Windows:
    """The pixels that are added up for each row and then for each column of the crop."""

    pixels: ir.Value
    """Indices of the pixels, (K, h + w)."""
    weights: ir.Value
    """Their weights as whole numbers, (K, h + w)."""
    crop: tuple[int, int]
    """h and w."""
    dtype: ClassVar = ir.DataType.UINT8
    """Type of the pixels after a pass."""

    def add_pass(self, write: NodeBuilder, x: ir.Value, axis: int) -> ir.Value:
        """Return the uint8 pixels (B, C, H, W) after a pass along axis 2 or 3."""
        start, stop = (0, self.crop[0]) if axis == 2 else (self.crop[0], sum(self.crop))  # noqa: PLR2004 NCHW
        pixels, weights = (
            write("Slice", values, _vector(start), _vector(stop), _vector(1))
            for values in (self.pixels, self.weights)
        )
        shape = np.array([0, self.crop[0], 1] if axis == 2 else [0, 1, self.crop[1]])  # noqa: PLR2004 NCHW
        weights = write("Reshape", weights, shape)

        def add_pixel(number: ir.Value, sums: ir.Value) -> ir.Value:
            near = write("Gather", x, write("Gather", pixels, number, axis=0), axis=axis)
            near = write("Cast", near, to=ir.DataType.INT32)
            weighted = write("Mul", near, write("Gather", weights, number, axis=0))
            return write("Add", sums, weighted)

        half = write.add_constant("half", INT(1 << (WEIGHT_BITS - 1)))
        sums = add_pixel(write.add_constant("first", np.int64(0)), half)
        others = write("Sub", write("Squeeze", write("Shape", weights, end=1)), np.int64(1))
        sums = _add_loop(write, others, sums, add_pixel)
        pixel, _ = add_split(write, write("Max", sums, INT(0)), WEIGHT_BITS)
        return write("Cast", write("Min", pixel, INT(MAX_VALUE)), to=ir.DataType.UINT8)


def add_windows(
    write: NodeBuilder,
    preprocessing: Preprocessing,
    sizes: Sequence[ir.Value],
    resized: Sequence[ir.Value],
    first: Sequence[ir.Value],
) -> Windows:
    """Return the windows of a resize.

    Args:
        write: adds the nodes.
        preprocessing: the crop and the filter, `bilinear` or `bicubic`.
        sizes: height and width of the image, (1,) in int64 like `resized` and `first`.
        resized: height and width of the resized image.
        first: first row and first column of the crop.
    """
    crop, interpolation = preprocessing.crop, preprocessing.interpolation
    is_row = np.arange(sum(crop))[:, None] < crop[0]
    index = np.concatenate([np.arange(side) for side in crop])[:, None].astype(INT)

    def spread(pair: Sequence[ir.Value]) -> ir.Value:
        rows, columns = (write("Cast", value, to=ir.DataType.INT32) for value in pair)
        return write("Where", is_row, rows, columns)  # (h + w, 1)

    side, to, at = spread(sizes), spread(resized), write("Add", index, spread(first))
    coarser = write("Mul", write("Max", side, to), INT(2))
    reach = write("Mul", coarser, INT(SUPPORT[interpolation]))
    count = write("Add", write("Div", reach, to), INT(4))
    most = write("ReduceMax", count, np.array([0, 1]), keepdims=0)
    centre = write("Mul", _add_odd(write, at), side)
    pixel = _add_pixels(write, centre, reach, to, most)  # (h + w, K)
    apart = write("Sub", write("Mul", _add_odd(write, pixel), to), centre)
    apart = write("Min", write("Abs", apart), reach)
    is_inside = write("And", write("GreaterOrEqual", pixel, INT(0)), write("Less", pixel, side))
    factor = write("Max", write("Div", INT(LARGEST), coarser), INT(1))
    scaled = (write("Mul", length, factor) for length in (apart, coarser))
    sign, number = _FILTERS[interpolation](write, *scaled)
    sign = write("Where", is_inside, sign, INT(0))
    weight = write(
        "Mul", sign, add_quotient(write, number, add_sum(write, sign, number), WEIGHT_BITS)
    )
    pixel = write("Max", write("Min", pixel, write("Sub", side, INT(1))), INT(0))
    pixels, weights = (write("Transpose", one, perm=[1, 0]) for one in (pixel, weight))
    return Windows(pixels, weights, crop)


def _add_loop(
    write: NodeBuilder,
    count: ir.Value,
    start: ir.Value,
    build: Callable[[ir.Value, ir.Value], ir.Value],
) -> ir.Value:
    """Return the int32 values after `count` iterations, numbered from 1, that begin with `start`.

    `build` adds the nodes of an iteration: it takes a number and values, and returns new values.
    """
    number, goes_on, now = (
        ir.Value(name=f"{start.name}/{word}", type=ir.TensorType(dtype))
        for word, dtype in (
            ("number", ir.DataType.INT64),
            ("goes_on", ir.DataType.BOOL),
            ("now", ir.DataType.INT32),
        )
    )
    number.shape = goes_on.shape = ir.Shape([])

    def iterate() -> list[ir.Value]:
        later = build(write("Add", number, np.int64(1)), now)
        later.type = now.type
        return [write("Identity", goes_on, like=goes_on, dtype=ir.DataType.BOOL), later]

    body = write.add_subgraph(iterate, (number, goes_on, now))
    return write("Loop", count, np.True_, start, body=body)


def _vector(value: int) -> npt.NDArray[np.int64]:
    return np.array([value], np.int64)


def _add_odd(write: NodeBuilder, index: ir.Value) -> ir.Value:
    """Return twice the centre of a pixel."""
    return write("Add", write("Mul", index, INT(2)), INT(1))


def _add_pixels(
    write: NodeBuilder, centre: ir.Value, reach: ir.Value, to: ir.Value, count: ir.Value
) -> ir.Value:
    """Return `count` indices of pixels for each window; some may lie outside of the image.

    The dividend is positive, for runtimes divide negative numbers differently. One more pixel at
    either end makes up for a quotient that is rounded in fp32.
    """
    step = write("Mul", to, INT(2))
    start = write("Sub", write("Sub", centre, reach), to)
    start = write("Div", write("Add", start, write("Mul", step, count)), step)
    start = write("Sub", start, write("Add", count, INT(1)))
    return write("Add", start, write("Range", INT(0), count, INT(1)))


def _add_bilinear(
    write: NodeBuilder, apart: ir.Value, coarser: ir.Value
) -> tuple[ir.Value, LongNumber]:
    """Return sign and size of the filter at the distance apart / coarser, times 2^30·coarser."""
    upper = write("Max", write("Sub", coarser, apart), INT(0))
    return write("Sign", upper), (upper, write("Mul", upper, INT(0)))


def _add_bicubic(
    write: NodeBuilder, apart: ir.Value, coarser: ir.Value
) -> tuple[ir.Value, LongNumber]:
    """Return sign and size of the filter at p / q, times 2·q³; p is `apart`, q `coarser`.

    It is (q - p)·(2·q·(q + p) - 3·p²) up to q, and (q - p)·(2·q - p)² up to 2·q. Both factors are
    q² where they meet.
    """
    q, p_near, p_far = coarser, write("Min", apart, coarser), write("Max", apart, coarser)
    near = write("Mul", write("Mul", q, INT(2)), write("Add", q, p_near))
    near = write("Sub", near, write("Mul", write("Mul", p_near, p_near), INT(3)))
    far = write("Sub", write("Mul", q, INT(2)), p_far)
    far = write("Sub", write("Mul", far, far), write("Mul", q, q))
    factor = write("Add", near, far)  # near is q² beyond q, and far is 0 up to q
    signed = write("Sub", q, apart)
    upper, lower = add_split(write, factor)
    signs, size = write("Sign", signed), write("Abs", signed)
    carry, lower = add_split(write, write("Mul", size, lower))
    upper, middle = add_split(write, write("Add", write("Mul", size, upper), carry))
    return signs, (upper, write("Add", write("Mul", middle, INT(1 << HALF)), lower))


_FILTERS = {"bilinear": _add_bilinear, "bicubic": _add_bicubic}
