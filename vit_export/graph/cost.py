"""The arithmetic of a graph: floating-point operations of its matrix products, for one image."""

from math import prod

import onnx_ir as ir

from vit_export.graph.builder import MICROSOFT

PRODUCTS = {"MatMul", "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"}
"""Whose first input is (..., M, K) and whose first output is (..., M, N)."""


def flops_of(graph: ir.Graph) -> int:
    """Of all nodes; a multiply-add counts two. What is not a product is less than 2% of a ViT."""
    return sum(flops_of_node(node) for node in graph)


def flops_of_node(node: ir.Node) -> int:
    """Of one node, for a batch of one; zero where it is no product."""
    if node.op_type == "MultiHeadAttention" and node.domain == MICROSOFT:
        return _attention(node)
    if node.op_type == "MatMulNBits":
        return 2 * prod(shape_of(node.outputs[0])) * node.attributes["K"].as_int()
    if node.op_type == "Conv":
        _, *kernel = shape_of(node.inputs[1])
        return 2 * prod(shape_of(node.outputs[0])) * prod(kernel)
    if node.op_type == "Gemm":
        turned = bool(node.attributes.get_int("transA", 0))
        return 2 * prod(shape_of(node.outputs[0])) * shape_of(node.inputs[0])[0 if turned else -1]
    if node.op_type in PRODUCTS:
        return 2 * prod(shape_of(node.outputs[0])) * shape_of(node.inputs[0])[-1]
    return 0


def _attention(node: ir.Node) -> int:
    """Both products, of queries with keys and of weights with values."""
    (_, queries, width), (_, keys, _) = shape_of(node.inputs[0]), shape_of(node.inputs[1])
    return 4 * queries * keys * width


def shape_of(value: ir.Value | None) -> tuple[int, ...]:
    """The lengths of all axes for a batch of one; `197*batch` is 197.

    Raises:
        ValueError: the graph does not say.
    """
    if value is None or value.shape is None:
        raise ValueError(f"{value} has no shape")
    return tuple(_length(axis) for axis in value.shape)


def _length(axis: object) -> int:
    if isinstance(axis, int):
        return axis
    factors = str(getattr(axis, "value", axis)).split("*")
    return prod(int(factor) for factor in factors if factor.strip().isdigit())
