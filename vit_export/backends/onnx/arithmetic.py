"""The precisions in which an ONNX file computes, from its operators and its types of weights."""

from collections.abc import Iterator

from vit_export.backends.onnx.content import Node, OnnxContent, Tensor

FP16, BF16, INT8, UINT8 = 10, 16, 3, 2
"""Numbers of TensorProto.DataType."""
WEIGHT_PRECISIONS = {
    **dict.fromkeys((UINT8, INT8), "weights-int8"),
    **dict.fromkeys((21, 22), "weights-int4"),  # UINT4, INT4
}
FLOAT_PRECISIONS = {FP16: "fp16", BF16: "bf16"}
RUN_TIME_RANGES = {"DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"}
LEAST_EXACT = {17, 18, 19, 20, 23, 24, 25, 26}
"""Types below eight bits that vit-export never writes: float8, float4, two bits."""
FOUR_BITS = 4
UNKNOWN = "unknown"


def find_precisions(content: OnnxContent) -> frozenset[str]:
    """Return the names of the precisions in which a file computes.

    `int8` is for ranges at run time, `int8-static` for stored ones. A file in which nothing is
    reduced computes in `fp32`. `unknown` is for types that vit-export never writes.
    """
    tensors = {tensor.name: tensor for tensor in content.tensors}
    found = {one for node in content.nodes for one in _find_of_node(node, tensors)}
    found |= {FLOAT_PRECISIONS[t.dtype] for t in content.tensors if t.dtype in FLOAT_PRECISIONS}
    found |= {UNKNOWN for tensor in content.tensors if tensor.dtype in LEAST_EXACT}
    return frozenset(found or {"fp32"})


def _find_of_node(node: Node, tensors: dict[str, Tensor]) -> Iterator[str]:
    if node.operator in RUN_TIME_RANGES:
        yield "int8"
    elif node.operator == "QuantizeLinear":
        is_stored = len(node.inputs) > 1 and node.inputs[1] in tensors
        yield "int8-static" if is_stored else "int8"
    elif node.operator == "DequantizeLinear" and node.inputs[0] in tensors:
        yield WEIGHT_PRECISIONS.get(tensors[node.inputs[0]].dtype, UNKNOWN)
    elif node.operator == "MatMulNBits":
        bits = node.integers.get("bits", FOUR_BITS)
        yield {8: "weights-int8", FOUR_BITS: "weights-int4"}.get(bits, UNKNOWN)
    elif node.operator == "Cast":
        target = node.integers.get("to", 0)
        if target in FLOAT_PRECISIONS:
            yield FLOAT_PRECISIONS[target]
        elif target in LEAST_EXACT:
            yield UNKNOWN
