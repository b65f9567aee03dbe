"""One projection that is split at once becomes several: the split would copy every number."""

from itertools import pairwise

import onnx_ir as ir

from vit_export.graph.builder import before, constant, initializer


def split_projections(model: ir.Model) -> int:
    """Replaces Split(Gemm(x, W)) by one Gemm for each part; says how many.

    The rows of W are cut, not copied. ONNX Runtime's Split is a copy in one thread.
    """
    splits = [node for node in model.graph if node.op_type == "Split"]
    return sum(_replace(model.graph, split) for split in splits)


def _replace(graph: ir.Graph, split: ir.Node) -> bool:
    gemm = before(split, "Gemm")
    if gemm is None or not _cuts_columns(split) or len(tuple(gemm.outputs[0].uses())) > 1:
        return False
    weight = constant(gemm.inputs[1])
    if weight is None or gemm.attributes.get_int("transB", 0) != 1:
        return False
    bounds = range(0, len(weight) + 1, len(weight) // len(split.outputs))
    for number, (part, rows) in enumerate(zip(split.outputs, pairwise(bounds), strict=True)):
        made = _part(graph, gemm, number, slice(*rows))
        made.outputs[0].name = f"{part.name}/projected"
        made.outputs[0].shape, made.outputs[0].type = part.shape, part.type
        graph.insert_before(split, made)
        ir.convenience.replace_all_uses_with(part, made.outputs[0])
    graph.remove([split, gemm], safe=True)
    return True


def _cuts_columns(split: ir.Node) -> bool:
    return split.attributes.get_int("axis", 0) in {-1, 1} and len(split.inputs) == 1


def _part(graph: ir.Graph, gemm: ir.Node, number: int, rows: slice) -> ir.Node:
    """The Gemm that answers with these rows of the weights; a bias is cut too."""
    inputs = [gemm.inputs[0]]
    for value in filter(None, gemm.inputs[1:]):
        array = constant(value)
        if array is not None:
            inputs.append(initializer(graph, f"{value.name}/part_{number}", array[rows]))
    return ir.node("Gemm", inputs, {"transB": 1}, name=f"{gemm.name}_part_{number}")
