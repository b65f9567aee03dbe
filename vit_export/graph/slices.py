"""Slices of one axis with constant bounds."""

from dataclasses import dataclass

import onnx_ir as ir

from vit_export.graph.builder import NodeBuilder, read_constant
from vit_export.graph.shapes import Dimensions, read_shape

STARTS, ENDS, AXES, STEPS = 1, 2, 3, 4
"""Inputs of a Slice."""


@dataclass(frozen=True)
class Cut:
    """Elements `start` to `end` of one axis."""

    axis: int
    start: int
    end: int
    whole: int
    """Length of the axis."""

    @property
    def length(self) -> int:
        """Number of elements."""
        return self.end - self.start

    def move(self, axis: int) -> "Cut":
        """Return the same elements of another axis, of the same length."""
        return Cut(axis, self.start, self.end, self.whole)

    def shape(self, dimensions: Dimensions) -> Dimensions:
        """Return the shape of what is left of a value of this shape."""
        return (*dimensions[: self.axis], self.length, *dimensions[self.axis + 1 :])


def read_cut(node: ir.Node) -> Cut | None:
    """Return what a Slice, or a Gather of one element, takes; None if that is not one range."""
    shape = read_shape(node.inputs[0]) if node.inputs else None
    if shape is None or not shape:
        return None
    if node.op_type == "Gather":
        return _read_gather(node, shape)
    return _read_slice(node, shape) if node.op_type == "Slice" else None


def _read_gather(node: ir.Node, shape: Dimensions) -> Cut | None:
    axis = node.attributes.get_int("axis", 0) % len(shape)
    index, whole = read_constant(node.inputs[1]), shape[axis]
    if index is None or index.ndim or not isinstance(whole, int):
        return None
    start = int(index) % whole
    return Cut(axis, start, start + 1, whole)


def _read_slice(node: ir.Node, shape: Dimensions) -> Cut | None:
    numbers = [_read_number(node, index) for index in (STARTS, ENDS, AXES, STEPS)]
    start, end, axis, step = numbers
    if axis is None and len(node.inputs) <= AXES:
        axis = 0
    if start is None or end is None or axis is None or (len(node.inputs) > STEPS and step != 1):
        return None
    whole = shape[axis]
    if not isinstance(whole, int):
        return None
    start, end, _ = slice(start, end).indices(whole)
    return Cut(axis % len(shape), start, max(start, end), whole)


def _read_number(node: ir.Node, index: int) -> int | None:
    """Return the one number of an input, or None if it has several or is not constant."""
    array = read_constant(node.inputs[index]) if len(node.inputs) > index else None
    return int(array.item()) if array is not None and array.size == 1 else None


def add_cut(build: NodeBuilder, value: ir.Value, cut: Cut) -> ir.Value:
    """Return the elements of `value`: a Slice, a new constant, or all of it."""
    shape = read_shape(value)
    if shape is not None and cut.length == shape[cut.axis]:
        return value
    array = read_constant(value)
    if array is not None:
        part = array.take(range(cut.start, cut.end), cut.axis)
        return build.add_constant(f"{value.name}_{cut.start}_{cut.end}", part)
    bounds = ([cut.start], [cut.end], [cut.axis])
    return build(
        "Slice",
        value,
        *bounds,
        shape=cut.shape(shape) if shape is not None else None,
        dtype=value.dtype or ir.DataType.FLOAT,
    )
