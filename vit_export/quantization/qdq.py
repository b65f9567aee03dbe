"""A quantization plan written into a graph, as Q/DQ nodes or their run-time form.

The nodes stand in front of the factors of each product and nowhere else, so that ONNX Runtime turns
the product into one of integers with a float output. A second rounding of the output would cost
accuracy and save nothing.
"""

from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from vit_export.core.errors import BuildError
from vit_export.graph.builder import MICROSOFT, NodeBuilder
from vit_export.graph.patterns import Linear, find_linears
from vit_export.quantization.attention import quantize_attention
from vit_export.quantization.plan import LayerPlan, QuantizationPlan
from vit_export.quantization.qdq_nodes import (
    multiply_integers,
    quantize_at_run_time,
    quantize_dequantize,
    write_params,
)
from vit_export.quantization.schemes import BLOCK, SMALLEST, QuantParams
from vit_export.quantization.weights import QuantizedWeight

SharedInputs = dict[tuple[ir.Value, str], tuple[ir.Value, ...]]
"""Quantized forms of a value, by value and name of the form; layers with one input share them."""
MAX_ERROR_SHARE = 0.5
"""Maximum rounding error of a weight as a share of its norm.

Rounding to 4 bits loses about a tenth; the weight of another layer differs by the whole norm."""


def write_plan(model: ir.Model, plan: QuantizationPlan, flavour: str) -> None:
    """Rewrite every linear layer and attention of `plan`, in place.

    One layer may stand in the graph as several Gemms, each with some of its rows, in their order.

    Raises:
        BuildError: the graph lacks a layer, or has other weights.
    """
    shared: SharedInputs = {}
    rows: Counter[str] = Counter()
    for linear in find_linears(model.graph):
        if linear.module in plan.layers:
            first = rows[linear.module]
            layer = plan.layers[linear.module].take_rows(first, first + len(linear.weight))
            _check_weight(linear, layer.weight)
            write_linear = LINEAR_WRITERS.get(
                (layer.scheme, flavour), LINEAR_WRITERS[layer.scheme, ""]
            )
            write_linear(NodeBuilder(model, linear.node), linear, layer, shared)
            rows[linear.module] += len(linear.weight)
    missing = set(plan.layers) - set(rows)
    if missing:
        message = f"the graph has no {', '.join(sorted(missing))} to quantize."
        raise BuildError(message, "report this with the model's spec.")
    quantize_attention(model, plan.attention_matmuls)


def _check_weight(linear: Linear, weight: QuantizedWeight) -> None:
    """Raise BuildError unless `weight` is the rounded weight of `linear`."""
    same_shape = weight.integers.shape == linear.weight.shape
    error = np.linalg.norm(weight.dequantize() - linear.weight) if same_shape else np.inf
    if not error <= MAX_ERROR_SHARE * np.linalg.norm(linear.weight):
        message = f"the graph's {linear.module} has other weights than the plan."
        raise BuildError(message, "report this with the model's spec.")


def write_run_time_range(
    write: NodeBuilder, linear: Linear, layer: LayerPlan, shared: SharedInputs
) -> None:
    """DynamicQuantizeLinear and MatMulInteger: one range for the whole batch."""
    weight, weight_scale = _write_int8_weight(write, layer)
    if (linear.input, "batch") not in shared:
        shared[linear.input, "batch"] = quantize_at_run_time(write, linear.input)
    integers, scale, zero = shared[linear.input, "batch"]
    product = multiply_integers(write, (integers, weight, zero), (scale, weight_scale))
    _finish_with_bias(write, layer, product)


def write_per_token(
    write: NodeBuilder, linear: Linear, layer: LayerPlan, shared: SharedInputs
) -> None:
    """Each row is divided by its largest magnitude, and the quotients have a static range."""
    if (linear.input, "token") not in shared:
        axes = write.add_constant("last_axis", np.array([1], np.int64))
        magnitudes = write("Abs", linear.input, like=linear.input)
        largest = write("ReduceMax", magnitudes, axes, keepdims=1)
        largest = write("Max", largest, write.add_constant("smallest", np.float32(SMALLEST)))
        quotients = write("Div", linear.input, largest, like=linear.input)
        rounded = _quantize_dequantize_3d(write, quotients, _require_params(layer))
        shared[linear.input, "token"] = rounded, largest
    rounded, largest = shared[linear.input, "token"]
    product = write("Mul", _multiply_weight(write, layer, rounded), largest)
    _finish_2d(write, layer, product)


def write_static(
    write: NodeBuilder, linear: Linear, layer: LayerPlan, shared: SharedInputs
) -> None:
    """QuantizeLinear, DequantizeLinear and MatMul, which every runtime supports."""
    if (linear.input, "static") not in shared:
        params = _require_params(layer)
        shared[linear.input, "static"] = (_quantize_dequantize_3d(write, linear.input, params),)
    (rounded,) = shared[linear.input, "static"]
    _finish_2d(write, layer, _multiply_weight(write, layer, rounded))


def write_static_fused(
    write: NodeBuilder, linear: Linear, layer: LayerPlan, shared: SharedInputs
) -> None:
    """ONNX Runtime's own product of integers, which adds the bias and supports a zero point."""
    weight, weight_scale = _write_int8_weight(write, layer)
    scale, zero = write_params(write, _require_params(layer))
    if (linear.input, "static") not in shared:
        shared[linear.input, "static"] = (write("QuantizeLinear", linear.input, scale, zero),)
    (integers,) = shared[linear.input, "static"]
    bias = write.add_constant("bias", layer.bias)
    inputs = (integers, weight, scale, weight_scale, zero, None, bias)
    product = write("MatMulIntegerToFloat", *inputs, domain=MICROSOFT, like=linear.output)
    write.replace_anchor(product)


def write_weight_only(
    write: NodeBuilder, linear: Linear, layer: LayerPlan, _: SharedInputs
) -> None:
    """DequantizeLinear of the weight and a product of floats; four bits need opset 21."""
    if layer.scheme == "weights-int4":
        weight = write.add_constant("weight_in_4_bits", layer.weight.integers.T, ir.DataType.INT4)
        scale = write.add_constant("weight_scale", layer.weight.scales.T)
        weight = write("DequantizeLinear", weight, scale, axis=0, block_size=BLOCK)
    else:
        weight = _dequantize_int8_weight(write, layer)
    _finish_with_bias(write, layer, write("MatMul", linear.input, weight, like=linear.output))


def write_4_bit_weight_fused(
    write: NodeBuilder, linear: Linear, layer: LayerPlan, _: SharedInputs
) -> None:
    """ONNX Runtime's own product with blocks of 4-bit weights."""
    outputs, inputs = linear.weight.shape
    numbers = (layer.weight.integers + 8).astype(np.uint8)  # the operator's zero point is 8
    pairs = numbers[:, ::2] | numbers[:, 1::2] << 4  # the first in the lower half of a byte
    weight = write.add_constant("weight_in_4_bits", pairs.reshape(outputs, inputs // BLOCK, -1))
    product = write(
        "MatMulNBits",
        *(linear.input, weight, write.add_constant("weight_scale", layer.weight.scales.ravel())),
        *(None, None, write.add_constant("bias", layer.bias)),
        domain=MICROSOFT,
        like=linear.output,
        K=inputs,
        N=outputs,
        bits=4,
        block_size=BLOCK,
    )
    write.replace_anchor(product)


LINEAR_WRITERS: dict[
    tuple[str, str], Callable[[NodeBuilder, Linear, LayerPlan, SharedInputs], None]
] = {
    ("int8", ""): write_run_time_range,
    ("int8-token", ""): write_per_token,
    ("int8-token-zero-point", ""): write_per_token,
    ("int8-static", ""): write_static,
    ("int8-static-zero-point", ""): write_static_fused,
    ("weights-int8", ""): write_weight_only,
    ("weights-int4", ""): write_weight_only,
    ("weights-int4", "onnxruntime"): write_4_bit_weight_fused,
}
"""Functions that write a linear layer, by scheme and flavour; an empty flavour is the default."""


def _write_int8_weight(write: NodeBuilder, layer: LayerPlan) -> tuple[ir.Value, ir.Value]:
    """The weight in eight bits, (K, N), and its scales, (N,)."""
    weight = write.add_constant("weight_in_8_bits", layer.weight.integers.T)
    return weight, write.add_constant("weight_scale", layer.weight.scales[:, 0])


def _dequantize_int8_weight(write: NodeBuilder, layer: LayerPlan) -> ir.Value:
    return write("DequantizeLinear", *_write_int8_weight(write, layer), axis=1)  # (K, N)


def _quantize_dequantize_3d(write: NodeBuilder, value: ir.Value, params: QuantParams) -> ir.Value:
    """Q and DQ of `value` (M, K), with an axis in front, (1, M, K).

    ONNX Runtime makes a Gemm of MatMul and Add on two axes before it looks for Q and DQ, and then
    computes in float, at half the speed of the unquantized layer.
    """
    rounded = quantize_dequantize(write, value, params)
    return write("Unsqueeze", rounded, write.add_constant("first_axis", np.array([0], np.int64)))


def _multiply_weight(write: NodeBuilder, layer: LayerPlan, rounded: ir.Value) -> ir.Value:
    """`rounded` (1, M, K) times the dequantized weight, (1, M, N)."""
    return write("MatMul", rounded, _dequantize_int8_weight(write, layer))


def _finish_2d(write: NodeBuilder, layer: LayerPlan, product: ir.Value) -> None:
    """Put `product` (1, M, N) plus the bias in the place of the layer, (M, N)."""
    # three axes: ONNX Runtime 1.32 makes a float Gemm of any MatMul of known M and a vector's Add
    product = write("Add", product, write.add_constant("bias", layer.bias[None, None]))
    write.replace_anchor(
        write("Squeeze", product, write.add_constant("first_axis", np.array([0], np.int64)))
    )


def _finish_with_bias(write: NodeBuilder, layer: LayerPlan, product: ir.Value) -> None:
    """Put `product` (M, N) plus the bias in the place of the layer."""
    write.replace_anchor(write("Add", product, write.add_constant("bias", layer.bias)))


def _require_params(layer: LayerPlan) -> QuantParams:
    if layer.params is None:
        raise ValueError("the scheme needs a static range")
    return layer.params
