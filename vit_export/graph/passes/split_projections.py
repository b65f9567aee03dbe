"""Replace a projection and the Split behind it by several projections: a Split copies its input."""

from itertools import pairwise

import numpy as np
import onnx_ir as ir

from vit_export.graph.builder import add_initializer, find_input, read_constant


def split_projections(model: ir.Model) -> int:
    """Replace Split(Gemm(x, W)) by one Gemm for each part; return the number of changes.

    The rows of W are sliced, not copied. ONNX Runtime's Split is a copy in one thread.
    """
    splits = [node for node in model.graph if node.op_type == "Split"]
    return sum(_replace(model.graph, split) for split in splits)


def _replace(graph: ir.Graph, split: ir.Node) -> bool:
    gemm, sizes = find_input(split, "Gemm"), _read_column_sizes(split)
    if gemm is None or sizes is None or len(tuple(gemm.outputs[0].uses())) > 1:
        return False
    weight = read_constant(gemm.inputs[1])
    if weight is None or gemm.attributes.get_int("transB", 0) != 1:
        return False
    bounds = pairwise([0, *np.cumsum(sizes).tolist()])
    for number, (part, rows) in enumerate(zip(split.outputs, bounds, strict=True)):
        projection = _slice_gemm(graph, gemm, number, slice(*rows))
        output = projection.outputs[0]
        output.name, output.shape, output.type = f"{part.name}/projected", part.shape, part.type
        graph.insert_before(split, projection)
        ir.convenience.replace_all_uses_with(part, output)
    graph.remove([split, gemm], safe=True)
    return True


def _read_column_sizes(split: ir.Node) -> list[int] | None:
    """Return the sizes of the parts if `split` cuts columns and has constant sizes, else None."""
    if split.attributes.get_int("axis", 0) not in {-1, 1} or len(split.inputs) == 1:
        return None
    sizes = read_constant(split.inputs[1])
    return None if sizes is None else [int(size) for size in sizes]


def _slice_gemm(graph: ir.Graph, gemm: ir.Node, number: int, rows: slice) -> ir.Node:
    """Return a Gemm with these rows of the weight and of the bias, if there is one."""
    inputs = [gemm.inputs[0]]
    for value in filter(None, gemm.inputs[1:]):
        array = read_constant(value)
        if array is not None:
            name = f"{value.name}/part_{number}"
            if name in graph.initializers:  # several projections share this bias
                name = f"{gemm.name}/{name}"
            inputs.append(add_initializer(graph, name, array[rows]))
    return ir.node("Gemm", inputs, {"transB": 1}, name=f"{gemm.name}_part_{number}")
