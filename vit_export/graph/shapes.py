"""Shapes of values: what is known of them, and how a Reshape writes them."""

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

Dimension = int | ir.SymbolicDim
Dimensions = tuple[Dimension, ...]

INFER_AXIS = -1
"""Marks the one axis of a Reshape whose length follows from the others."""


def read_shape(value: ir.Value | None) -> Dimensions | None:
    """Return the dimensions of `value`, or None if one has neither a number nor a name."""
    if value is None or value.shape is None:
        return None
    dimensions = tuple(value.shape)
    return None if any(_is_nameless(one) for one in dimensions) else dimensions


def _is_nameless(dimension: Dimension) -> bool:
    return isinstance(dimension, ir.SymbolicDim) and dimension.value is None


def reshape_target(dimensions: Iterable[Dimension]) -> npt.NDArray[np.int64] | None:
    """Return the shape for a Reshape, or None if more than one dimension is free."""
    target = [one if isinstance(one, int) else INFER_AXIS for one in dimensions]
    return np.array(target, np.int64) if target.count(INFER_AXIS) <= 1 else None


def merge_dimensions(dimensions: Iterable[Dimension]) -> Dimension:
    """Return the length of the axis that several axes become; it is free if one of them is."""
    known = tuple(dimensions)
    if len(known) == 1:
        return known[0]
    length = math.prod(one for one in known if isinstance(one, int))
    free = [str(one.value) for one in known if isinstance(one, ir.SymbolicDim)]
    if not free:
        return length
    return ir.SymbolicDim("*".join(free if length == 1 else [*free, str(length)]))
