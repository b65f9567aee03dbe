"""The matrix products of a graph with weights, as sizes: what a roofline is measured with."""

from math import prod

import onnx_ir as ir

from vit_export.graph.builder import read_constant
from vit_export.graph.cost import MATMULS, count_node_flops, shape_for_one

MOST = 4
"""Number of sizes that stand for a graph: those with the most arithmetic."""


def list_gemms(graph: ir.Graph) -> list[tuple[int, int, int]]:
    """Return (rows, inner, columns) of the largest products with weights, for one image.

    A convolution counts as the product that computes it: a row for each place of its kernel.

    Raises:
        ValueError: a product has no shape.
    """
    flops: dict[tuple[int, int, int], int] = {}
    for node in graph:
        gemm = _measure(node)
        if gemm is not None:
            flops[gemm] = flops.get(gemm, 0) + count_node_flops(node)
    return sorted(flops, key=lambda gemm: -flops[gemm])[:MOST]


def _measure(node: ir.Node) -> tuple[int, int, int] | None:
    if node.op_type not in {"Conv", "Gemm", *MATMULS} or read_constant(node.inputs[1]) is None:
        return None
    answer = shape_for_one(node.outputs[0])
    if node.op_type == "Conv":
        columns, *kernel = shape_for_one(node.inputs[1])
        return prod(answer[2:]), prod(kernel), columns
    inner = count_node_flops(node) // (2 * prod(answer))
    return prod(answer[:-1]), inner, answer[-1]
