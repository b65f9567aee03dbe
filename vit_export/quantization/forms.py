"""Quantized values as a graph says them."""

import numpy as np
import onnx_ir as ir

from vit_export.graph.builder import NodeBuilder
from vit_export.quantization.schemes import Range


def restored(write: NodeBuilder, value: ir.Value, told: Range, word: str = "input") -> ir.Value:
    """Q and DQ of `value`."""
    range_ = range_of(write, told, word)
    quantized = write("QuantizeLinear", value, *range_)
    return write("DequantizeLinear", quantized, *range_, like=value)


def range_of(write: NodeBuilder, told: Range, word: str = "input") -> tuple[ir.Value, ir.Value]:
    """Scale and zero point as constants, of a value called by this word."""
    scale, zero = told
    point = np.int8(0) if zero is None else np.uint8(zero)
    return (
        write.add_constant(f"{word}_scale", np.float32(scale)),
        write.add_constant(f"{word}_zero_point", point),
    )


def integer_product(write: NodeBuilder, left: ir.Value, right: ir.Value) -> ir.Value:
    """The product of two values, each with one range of its own that is found at run time."""
    words = ("quantized", "scale", "zero_point")
    first, first_scale, first_zero = write.add("DynamicQuantizeLinear", (left,), words)
    second, second_scale, second_zero = write.add("DynamicQuantizeLinear", (right,), words)
    like = write.anchor.outputs[0]
    inputs = (first, second, first_zero, second_zero)
    product = write("MatMulInteger", *inputs, like=like, dtype=ir.DataType.INT32)
    product = write("Cast", product, to=ir.DataType.FLOAT, like=like)
    return write("Mul", product, write("Mul", first_scale, second_scale), like=like)
