"""Nodes that quantize and dequantize one value: Q/DQ, or their run-time form."""

import numpy as np
import onnx_ir as ir

from vit_export.graph.builder import NodeBuilder
from vit_export.quantization.schemes import QuantParams


def quantize_dequantize(
    write: NodeBuilder, value: ir.Value, params: QuantParams, word: str = "input"
) -> ir.Value:
    """`value` after QuantizeLinear and DequantizeLinear, in its own shape."""
    constants = write_params(write, params, word)
    integers = write("QuantizeLinear", value, *constants)
    return write("DequantizeLinear", integers, *constants, like=value)


def write_params(
    write: NodeBuilder, params: QuantParams, word: str = "input"
) -> tuple[ir.Value, ir.Value]:
    """Scale and zero point as constants; their names begin with `word`."""
    zero = np.int8(0) if params.zero_point is None else np.uint8(params.zero_point)
    return (
        write.add_constant(f"{word}_scale", np.float32(params.scale)),
        write.add_constant(f"{word}_zero_point", zero),
    )


def quantize_at_run_time(write: NodeBuilder, value: ir.Value) -> tuple[ir.Value, ...]:
    """DynamicQuantizeLinear: the integers of `value`, their scale and their zero point."""
    return write.add("DynamicQuantizeLinear", (value,), ("quantized", "scale", "zero_point"))


def multiply_integers(
    write: NodeBuilder,
    integers: tuple[ir.Value, ir.Value, *tuple[ir.Value, ...]],
    scales: tuple[ir.Value, ir.Value],
) -> ir.Value:
    """MatMulInteger and its answer in floats, of the shape of the replaced node's output.

    Args:
        write: adds nodes in front of the matmul to replace.
        integers: both factors, then the zero point of the first factor or of both.
        scales: the scale of each factor.
    """
    like = write.anchor.outputs[0]
    product = write("MatMulInteger", *integers, like=like, dtype=ir.DataType.INT32)
    product = write("Cast", product, to=ir.DataType.FLOAT, like=like)
    return write("Mul", product, write("Mul", *scales), like=like)
