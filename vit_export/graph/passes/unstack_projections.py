"""Take the parts of a stacked projection with a Split: einops stacks `(h d qkv)` in any order."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from vit_export.graph.builder import NodeBuilder, find_input, read_permutation
from vit_export.graph.projections import (
    Array,
    change_columns,
    find_projection,
    has_one_reader,
)
from vit_export.graph.shapes import Dimension, Dimensions, read_shape, reshape_target
from vit_export.graph.slices import read_cut

FEWEST_PARTS, MOST_PARTS = 2, 4
"""How many parts are taken for queries, keys, values and a gate."""


@dataclass(frozen=True, eq=False)
class Stack:
    """Reshape of (..., K) to several axes, one of which a Transpose puts in front."""

    reshape: ir.Node
    transpose: ir.Node
    source: Dimensions
    """Shape before the Reshape."""
    shape: Dimensions
    """Shape behind the Reshape."""
    axis: int
    """Axis of the parts in `shape`."""
    parts: int

    first: int
    """The first axis in `shape` that comes from the last axis of `source`."""

    @property
    def part_shape(self) -> Dimensions:
        """Shape of one part before its Transpose."""
        return (*self.shape[: self.axis], *self.shape[self.axis + 1 :])

    @property
    def part_axes(self) -> list[int]:
        """Permutation of the Transpose of one part."""
        return [one - (one > self.axis) for one in read_permutation(self.transpose)[1:]]


def unstack_projections(model: ir.Model) -> int:
    """Replace Reshape, Transpose and a Gather for each part by a Split, and both for each part.

    Where the parts are no neighbours in the projection's columns, these are reordered. Return the
    number of changes.
    """
    transposes = [node for node in model.graph if node.op_type == "Transpose"]
    return sum(_unstack(model, node) for node in transposes)


def _unstack(model: ir.Model, transpose: ir.Node) -> bool:
    stack = _match_stack(transpose)
    picks = list(_find_picks(stack)) if stack is not None else []
    if stack is None or not picks or reshape_target(stack.part_shape) is None:
        return False
    value = stack.reshape.inputs[0]
    if stack.axis != stack.first:
        projection = find_projection(value)
        if projection is None or not has_one_reader(value):
            return False
        columns = _part_columns(stack)
        change_columns(model.graph, projection, lambda array: array[..., columns])
    _build_parts(model, stack, picks)
    return True


def _match_stack(transpose: ir.Node) -> Stack | None:
    reshape, axes = find_input(transpose, "Reshape"), read_permutation(transpose)
    if reshape is None or not axes or not has_one_reader(transpose.inputs[0]):
        return None
    source, shape = read_shape(reshape.inputs[0]), read_shape(reshape.outputs[0])
    if source is None or shape is None:
        return None
    axis, parts, first = axes[0], shape[axes[0]], _find_first(shape, source[-1])
    if not isinstance(parts, int) or not FEWEST_PARTS <= parts <= MOST_PARTS:
        return None
    if first is None or axis < first:
        return None
    return Stack(reshape, transpose, source, shape, axis, parts, first)


def _find_first(shape: Dimensions, width: Dimension) -> int | None:
    """Return the axis from which on all axes together have `width` elements."""
    for first in range(len(shape) - 1, -1, -1):
        inner = [one for one in shape[first:] if isinstance(one, int)]
        if len(inner) == len(shape) - first and math.prod(inner) == width and len(inner) > 1:
            return first
    return None


def _find_picks(stack: Stack) -> Iterator[tuple[int, ir.Value]]:
    """Yield the number and the value of each part, or nothing if the whole is read too."""
    picks: list[tuple[int, ir.Value]] = []
    for use in stack.transpose.outputs[0].uses():
        found = list(_read_picks(use.node))
        if not found:
            return
        picks += found
    yield from picks


def _read_picks(reader: ir.Node) -> Iterator[tuple[int, ir.Value]]:
    if reader.op_type == "Gather":
        cut = read_cut(reader)
        if cut is not None and cut.axis == 0 and not reader.outputs[0].is_graph_output():
            yield cut.start, reader.outputs[0]
    elif reader.op_type == "Split" and reader.attributes.get_int("axis", 0) == 0:
        parts = enumerate(reader.outputs)
        readers = [(number, use.node) for number, part in parts for use in part.uses()]
        if all(_squeezes(node) for _, node in readers):
            yield from ((number, node.outputs[0]) for number, node in readers)


def _squeezes(node: ir.Node) -> bool:
    return node.op_type == "Squeeze" and not node.outputs[0].is_graph_output()


def _part_columns(stack: Stack) -> Array:
    """Return the order of the columns in which the parts are neighbours."""
    inner = [int(one) for one in stack.shape[stack.first :] if isinstance(one, int)]
    numbers = np.arange(math.prod(inner)).reshape(inner)
    return np.moveaxis(numbers, stack.axis - stack.first, 0).reshape(-1)


def _build_parts(model: ir.Model, stack: Stack, picks: list[tuple[int, ir.Value]]) -> None:
    build = NodeBuilder(model, stack.transpose)
    width = math.prod(one for one in stack.source[-1:] if isinstance(one, int)) // stack.parts
    source = stack.reshape.inputs[0]
    words = [f"part_{number}" for number in range(stack.parts)]
    parts = build.add("Split", (source, [width] * stack.parts), words, axis=len(stack.source) - 1)
    for part in parts:
        part.shape, part.type = ir.Shape((*stack.source[:-1], width)), stack.reshape.outputs[0].type
    heads = {}
    for number in {number for number, _ in picks}:
        target = reshape_target(stack.part_shape)
        value = build("Reshape", parts[number], target, shape=stack.part_shape)
        axes = stack.part_axes
        shape = [stack.part_shape[axis] for axis in axes]
        heads[number] = build("Transpose", value, perm=axes, shape=shape)
    for number, value in picks:
        ir.convenience.replace_all_uses_with(value, heads[number])
