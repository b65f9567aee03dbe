"""The arithmetic of a graph: FLOPs and multiply-adds of its products for one image, by type.

A product is a matrix product, a convolution or an attention. The other nodes of a ViT do less than
2% of its arithmetic and count as zero.
"""

from collections import Counter
from math import prod

import onnx_ir as ir

from vit_export.graph.builder import MICROSOFT, find_producer

INTEGER_MATMULS = {"MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"}
MATMULS = {"MatMul", *INTEGER_MATMULS}
"""Operators whose first input is (..., M, K) and whose first output is (..., M, N)."""
AXIS_OPERATORS = {"Unsqueeze", "Transpose", "Reshape"}
"""Operators that may stand between a DequantizeLinear and its product: they only move axes."""
DTYPE_NAMES: dict[ir.DataType | None, str] = {
    ir.DataType.FLOAT16: "fp16",
    ir.DataType.BFLOAT16: "bf16",
}
"""Name of a float product's type by the type of its output; for other outputs it is fp32."""


def count_flops(graph: ir.Graph) -> int:
    """Return the floating-point operations for one image; a multiply-add counts as two.

    Raises:
        ValueError: a product has no shape.
    """
    return sum(count_node_flops(node) for node in graph)


def macs_by_dtype(graph: ir.Graph) -> dict[str, int]:
    """Return the multiply-adds for one image by the types of their factors, most frequent first.

    `int8` multiplies int8 by int8. `fp32 x int8` multiplies floats by weights that the file stores
    in eight bits.

    Raises:
        ValueError: a product has no shape.
    """
    counts: Counter[str] = Counter()
    for node in graph:
        flops = count_node_flops(node)
        if flops:
            counts[_name_dtype(node)] += flops // 2
    return dict(counts.most_common())


def count_node_flops(node: ir.Node) -> int:
    """Return the floating-point operations of one node for one image; zero unless it is a product.

    Raises:
        ValueError: an input or output has no shape.
    """
    if node.op_type == "MultiHeadAttention" and node.domain == MICROSOFT:
        return _count_attention_flops(node)
    if node.op_type == "MatMulNBits":
        return 2 * prod(shape_for_one(node.outputs[0])) * node.attributes["K"].as_int()
    if node.op_type == "Conv":
        _, *kernel = shape_for_one(node.inputs[1])
        return 2 * prod(shape_for_one(node.outputs[0])) * prod(kernel)
    if node.op_type == "Gemm":
        axis = 0 if node.attributes.get_int("transA", 0) else -1
        return 2 * prod(shape_for_one(node.outputs[0])) * shape_for_one(node.inputs[0])[axis]
    if node.op_type in MATMULS:
        return 2 * prod(shape_for_one(node.outputs[0])) * shape_for_one(node.inputs[0])[-1]
    return 0


def _count_attention_flops(node: ir.Node) -> int:
    """Count both products: q kᵀ and softmax(...) v."""
    (_, queries, width) = shape_for_one(node.inputs[0])
    (_, keys, _) = shape_for_one(node.inputs[1])
    return 4 * queries * keys * width


def shape_for_one(value: ir.Value | None) -> tuple[int, ...]:
    """Return the shape of `value` for a batch of one: an axis of `197*batch` is 197.

    Raises:
        ValueError: the graph does not record the shape.
    """
    if value is None or value.shape is None:
        raise ValueError(f"{value} has no shape")
    return tuple(_length_for_one(axis) for axis in value.shape)


def _length_for_one(axis: object) -> int:
    if isinstance(axis, int):
        return axis
    factors = str(getattr(axis, "value", axis)).split("*")
    return prod(int(factor) for factor in factors if factor.strip().isdigit())


def _name_dtype(node: ir.Node) -> str:
    """Name the types that a product multiplies."""
    if node.op_type in INTEGER_MATMULS:
        return "int8"
    if node.op_type == "MatMulNBits":
        return f"fp32 x int{node.attributes.get_int('bits', 0)}"
    left, right = (count_stored_bits(value) for value in node.inputs[:2])
    if left and right:
        return f"int{max(left, right)}"
    name = DTYPE_NAMES.get(node.outputs[0].dtype, "fp32")
    return f"{name} x int{right}" if right else name


def count_stored_bits(value: ir.Value | None) -> int:
    """Return the bits of the integers that `value` is dequantized from; 0 if it is not."""
    node = value.producer() if value is not None else None
    while node is not None and node.op_type in AXIS_OPERATORS:
        node = node.inputs[0].producer() if node.inputs[0] is not None else None
    if node is None or node.op_type != "DequantizeLinear" or node.inputs[0] is None:
        return 0
    dtype = node.inputs[0].dtype
    if dtype is None:
        quantize = find_producer(node.inputs[0], "QuantizeLinear")
        zero_point = quantize.inputs[2] if quantize is not None else None
        dtype = zero_point.dtype if zero_point is not None else None
    return int(8 * dtype.itemsize) if dtype is not None else 0
