"""A graph whose linear layers are quantized as a plan says.

Every form of an activation below is one that ONNX Runtime turns into an integer product with a
float answer: Q and DQ (or their run-time sisters) stand around what is multiplied and nowhere else.
Answers stay float, for a second rounding costs accuracy and buys nothing.
"""

from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from vit_export.core.errors import BuildError
from vit_export.graph.builder import MICROSOFT, NodeBuilder
from vit_export.graph.patterns import Linear, find_linears
from vit_export.quantization.attention import quantize_products
from vit_export.quantization.forms import range_of, restored
from vit_export.quantization.plan import LayerPlan, Plan
from vit_export.quantization.schemes import BLOCK, Range
from vit_export.quantization.weights import Rounded

Shared = dict[tuple[ir.Value, str], tuple[ir.Value, ...]]
"""What was made of a value for one layer, for others that read it: by value and form."""
MOST_LOST = 0.5
"""Share of a weight's norm: four bits lose a tenth, another weight is lost altogether."""


def quantize_graph(model: ir.Model, plan: Plan, flavour: str) -> None:
    """Rewrites, in place, every linear layer and attention of `plan`.

    One layer may stand in the graph as several, each with some of its rows, in their order.

    Raises:
        BuildError: the graph does not have one of them, or with other weights.
    """
    shared: Shared = {}
    written: Counter[str] = Counter()
    for linear in find_linears(model.graph):
        if linear.module in plan.layers:
            first = written[linear.module]
            layer = plan.layers[linear.module].rows(first, first + len(linear.weight))
            _check_same(linear, layer.weight)
            form = FORMS.get((layer.scheme, flavour), FORMS[layer.scheme, ""])
            form(NodeBuilder(model, linear.node), linear, layer, shared)
            written[linear.module] += len(linear.weight)
    missing = set(plan.layers) - set(written)
    if missing:
        message = f"the graph has no {', '.join(sorted(missing))} to quantize."
        raise BuildError(message, "report this with the model's spec.")
    quantize_products(model, plan.products)


def _check_same(linear: Linear, rounded: Rounded) -> None:
    """Nothing, when a layer of the graph has the weight that was rounded for it."""
    same = rounded.integers.shape == linear.weight.shape
    lost = np.linalg.norm(rounded.restored() - linear.weight) if same else np.inf
    if not lost <= MOST_LOST * np.linalg.norm(linear.weight):
        message = f"the graph's {linear.module} has other weights than were rounded for it."
        raise BuildError(message, "report this with the model's spec.")


def run_time_scale(write: NodeBuilder, linear: Linear, layer: LayerPlan, shared: Shared) -> None:
    """DynamicQuantizeLinear and MatMulInteger: one range for the whole batch."""
    weight, scale = _channels(write, layer)
    if (linear.input, "batch") not in shared:
        names = ("quantized", "scale", "zero_point")
        shared[linear.input, "batch"] = write.add("DynamicQuantizeLinear", (linear.input,), names)
    quantized, input_scale, zero = shared[linear.input, "batch"]
    inputs = (quantized, weight, zero)
    product = write("MatMulInteger", *inputs, like=linear.output, dtype=ir.DataType.INT32)
    product = write("Cast", product, to=ir.DataType.FLOAT, like=linear.output)
    product = write("Mul", product, write("Mul", input_scale, scale), like=linear.output)
    write.replace_anchor(write("Add", product, write.add_constant("bias", layer.bias)))


def row_scales(write: NodeBuilder, linear: Linear, layer: LayerPlan, shared: Shared) -> None:
    """Each row divided by its own greatest number, then as with static scales of one."""
    if (linear.input, "token") not in shared:
        axes = write.add_constant("last_axis", np.array([1], np.int64))
        size = write("ReduceMax", write("Abs", linear.input, like=linear.input), axes, keepdims=1)
        size = write("Max", size, write.add_constant("smallest", np.float32(1e-30)))
        unit = write("Div", linear.input, size, like=linear.input)
        shared[linear.input, "token"] = (_restored(write, unit, _told(layer)), size)
    unit, size = shared[linear.input, "token"]
    product = write("Mul", _product(write, layer, unit), size)
    _finish_in_two_axes(write, layer, product)


def static_scale(write: NodeBuilder, linear: Linear, layer: LayerPlan, shared: Shared) -> None:
    """QuantizeLinear, DequantizeLinear, MatMul: what every runtime reads."""
    if (linear.input, "static") not in shared:
        shared[linear.input, "static"] = (_restored(write, linear.input, _told(layer)),)
    (numbers,) = shared[linear.input, "static"]
    _finish_in_two_axes(write, layer, _product(write, layer, numbers))


def static_scale_fused(
    write: NodeBuilder, linear: Linear, layer: LayerPlan, shared: Shared
) -> None:
    """ONNX Runtime's own product of integers with its bias; it takes a zero point for nothing."""
    weight, weight_scale = _channels(write, layer)
    range_ = range_of(write, _told(layer))
    if (linear.input, "static") not in shared:
        shared[linear.input, "static"] = (write("QuantizeLinear", linear.input, *range_),)
    (quantized,) = shared[linear.input, "static"]
    bias = write.add_constant("bias", layer.bias)
    inputs = (quantized, weight, range_[0], weight_scale, range_[1], None, bias)
    product = write("MatMulIntegerToFloat", *inputs, domain=MICROSOFT, like=linear.output)
    write.replace_anchor(product)


def eight_bit_weights(write: NodeBuilder, linear: Linear, layer: LayerPlan, _: Shared) -> None:
    """DequantizeLinear of a weight alone."""
    weight, scale = _channels(write, layer)
    weight = write("DequantizeLinear", weight, scale, axis=1)
    product = write("MatMul", linear.input, weight, like=linear.output)
    write.replace_anchor(write("Add", product, write.add_constant("bias", layer.bias)))


def four_bit_weights(write: NodeBuilder, linear: Linear, layer: LayerPlan, _: Shared) -> None:
    """DequantizeLinear of blocks of a weight, opset 21."""
    packed = write.add_constant("weight_in_4_bits", layer.weight.integers.T, ir.DataType.INT4)
    scales = write.add_constant("weight_scale", layer.weight.scales.T)
    weight = write("DequantizeLinear", packed, scales, axis=0, block_size=BLOCK)
    product = write("MatMul", linear.input, weight, like=linear.output)
    write.replace_anchor(write("Add", product, write.add_constant("bias", layer.bias)))


def four_bit_weights_fused(write: NodeBuilder, linear: Linear, layer: LayerPlan, _: Shared) -> None:
    """ONNX Runtime's own product with weights in blocks."""
    outputs, inputs = linear.weight.shape
    numbers = (layer.weight.integers + 8).astype(np.uint8)  # about a zero point of 8
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


Form = Callable[[NodeBuilder, Linear, LayerPlan, Shared], None]
FORMS: dict[tuple[str, str], Form] = {
    ("int8", ""): run_time_scale,
    ("int8-token", ""): row_scales,
    ("int8-token-zero-point", ""): row_scales,
    ("int8-static", ""): static_scale,
    ("int8-static-zero-point", ""): static_scale_fused,
    ("weights-int8", ""): eight_bit_weights,
    ("weights-int4", ""): four_bit_weights,
    ("weights-int4", "onnxruntime"): four_bit_weights_fused,
}
"""By scheme and flavour; an empty flavour is every other one."""


def _channels(write: NodeBuilder, layer: LayerPlan) -> tuple[ir.Value, ir.Value]:
    """The weight in eight bits, (K, N), and its scales, (N,)."""
    weight = write.add_constant("weight_in_8_bits", layer.weight.integers.T)
    return weight, write.add_constant("weight_scale", layer.weight.scales[:, 0])


def _restored(write: NodeBuilder, value: ir.Value, told: Range) -> ir.Value:
    """Q and DQ, (M, K), and an axis before them: (1, M, K).

    Of two axes ONNX Runtime makes MatMul and Add a Gemm before it looks for Q and DQ, and then
    computes in float, at half the speed of no quantization at all.
    """
    made = restored(write, value, told)
    return write("Unsqueeze", made, write.add_constant("first_axis", np.array([0], np.int64)))


def _product(write: NodeBuilder, layer: LayerPlan, numbers: ir.Value) -> ir.Value:
    """MatMul with the restored weight, (1, M, N)."""
    weight, scale = _channels(write, layer)
    return write("MatMul", numbers, write("DequantizeLinear", weight, scale, axis=1))


def _finish_in_two_axes(write: NodeBuilder, layer: LayerPlan, product: ir.Value) -> None:
    product = write("Add", product, write.add_constant("bias", layer.bias))
    write.replace_anchor(
        write("Squeeze", product, write.add_constant("first_axis", np.array([0], np.int64)))
    )


def _told(layer: LayerPlan) -> Range:
    if layer.range is None:
        raise ValueError("a static scheme needs a range")
    return layer.range
