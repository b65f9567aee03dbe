"""What the multiply-adds of a graph are done in: a file called int8 has to be mostly that."""

from collections import Counter

import onnx_ir as ir

from vit_export.graph.builder import producer
from vit_export.graph.cost import flops_of_node

THROUGH = {"Unsqueeze", "Transpose", "Reshape"}
"""Operators that only rename axes between a DequantizeLinear and a product."""
INTEGER_PRODUCTS = {"MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"}
KINDS: dict[ir.DataType | None, str] = {
    ir.DataType.FLOAT16: "fp16",
    ir.DataType.BFLOAT16: "bf16",
}
"""What products of floats are done in, by the type of their answer; fp32 is every other."""


def census(graph: ir.Graph) -> dict[str, int]:
    """Multiply-adds for one image by arithmetic, the most frequent first.

    `int8` is int8 times int8, `fp32 x int8` a product of floats whose weights stand in the file in
    eight bits.
    """
    counts: Counter[str] = Counter()
    for node in graph:
        flops = flops_of_node(node)
        if flops:
            counts[arithmetic(node)] += flops // 2
    return dict(counts.most_common())


def arithmetic(node: ir.Node) -> str:
    """What a product is done in."""
    if node.op_type in INTEGER_PRODUCTS:
        return "int8"
    if node.op_type == "MatMulNBits":
        return f"fp32 x int{node.attributes.get_int('bits', 0)}"
    left, right = (_bits(value) for value in node.inputs[:2])
    if left and right:
        return f"int{max(left, right)}"
    kind = KINDS.get(node.outputs[0].dtype, "fp32")
    return f"{kind} x int{right}" if right else kind


def _bits(value: ir.Value | None) -> int:
    """Of the integers that `value` was restored from; 0 where it was not."""
    node = value.producer() if value is not None else None
    while node is not None and node.op_type in THROUGH:
        node = node.inputs[0].producer() if node.inputs[0] is not None else None
    if node is None or node.op_type != "DequantizeLinear" or node.inputs[0] is None:
        return 0
    dtype = node.inputs[0].dtype
    if dtype is None:
        made = producer(node.inputs[0], "QuantizeLinear")
        dtype = made.inputs[2].dtype if made is not None and made.inputs[2] is not None else None
    return int(8 * dtype.itemsize) if dtype is not None else 0
