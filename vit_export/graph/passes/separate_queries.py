"""Give the queries of few tokens a projection of their own: keys and values need all tokens."""

from itertools import pairwise

import numpy as np
import onnx_ir as ir

from vit_export.graph.builder import NodeBuilder, read_constant
from vit_export.graph.projections import add_projection, find_projection, has_one_reader
from vit_export.graph.shapes import read_shape
from vit_export.graph.slices import read_cut


def separate_queries(model: ir.Model) -> int:
    """Replace Split(projection) by a projection for each part if a Slice alone reads one part.

    The Slice can then sink below that part's projection. Return the number of changes.
    """
    splits = [node for node in model.graph if node.op_type == "Split"]
    return sum(_separate(model, split) for split in splits)


def _separate(model: ir.Model, split: ir.Node) -> bool:
    projection, sizes = find_projection(split.inputs[0]), _read_sizes(split)
    if projection is None or sizes is None or not has_one_reader(split.inputs[0]):
        return False
    if not any(_is_sliced(part) for part in split.outputs):
        return False
    build = NodeBuilder(model, projection.node)
    bounds = pairwise([0, *np.cumsum(sizes).tolist()])
    for part, (start, end) in zip(split.outputs, bounds, strict=True):
        value = add_projection(build, projection, slice(start, end))
        ir.convenience.replace_all_uses_with(part, value)
    nodes = [split, *filter(None, (projection.add, projection.node))]
    model.graph.remove(nodes, safe=True)
    return True


def _read_sizes(split: ir.Node) -> list[int] | None:
    """Return the sizes of the parts if `split` cuts the last axis, else None."""
    shape = read_shape(split.inputs[0])
    if shape is None or split.attributes.get_int("axis", 0) not in {-1, len(shape) - 1}:
        return None
    if any(part.is_graph_output() for part in split.outputs):
        return None
    sizes = read_constant(split.inputs[1]) if len(split.inputs) > 1 else None
    if sizes is not None:
        return [int(size) for size in sizes]
    length, parts = shape[-1], len(split.outputs)
    if not isinstance(length, int) or length % parts:
        return None
    return [length // parts] * parts


def _is_sliced(part: ir.Value) -> bool:
    """Whether one reader takes less than all of an axis other than the last."""
    if not has_one_reader(part):
        return False
    cut, shape = read_cut(next(iter(part.uses())).node), read_shape(part)
    return cut is not None and shape is not None and cut.axis < len(shape) - 1
