"""The two matmuls inside attention in eight bits: q kᵀ, and softmax times v.

Neither has a weight, so both factors are quantized as activations. They are a few percent of a
model's arithmetic and its most sensitive part: `--include attention` alone quantizes them.

The probabilities of each row are divided by the largest one of the row first. A token that attends
to all others alike has probabilities of one in hundreds, as small as one step of a range up to 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, nn

from vit_export.core.errors import BuildError
from vit_export.graph.builder import NodeBuilder, module_name
from vit_export.graph.patterns import find_attentions
from vit_export.model.layered import LayeredModule
from vit_export.quantization.layers import find_attention_matmuls
from vit_export.quantization.observer import ATTENTION_INPUTS, LayerStats
from vit_export.quantization.qdq_nodes import (
    multiply_integers,
    quantize_at_run_time,
    quantize_dequantize,
)
from vit_export.quantization.schemes import INT8_MAX, SCHEMES, QuantParams

UP_TO_ONE = QuantParams(1 / INT8_MAX, None)
"""The symmetric range from -1 to 1."""


@dataclass(frozen=True, kw_only=True)
class AttentionPlan:
    """How the matmuls of one attention are quantized."""

    scheme: str
    """`int8` or `int8-static`."""
    queries: QuantParams | None
    """Range of the queries; None if it is computed at run time."""
    keys: QuantParams | None
    """Range of the keys; None if it is computed at run time."""
    values: QuantParams | None
    """Range of the values; None if it is computed at run time."""

    @property
    def quotients(self) -> QuantParams | None:
        """The range of probabilities divided by the largest one of their row."""
        return UP_TO_ONE if self.queries and self.keys and self.values else None


def plan_attention(
    lowered: LayeredModule, stats: LayerStats, scheme: str
) -> dict[str, AttentionPlan]:
    """The plan of every attention of the encoder, by the module name of its matmuls."""
    choose = SCHEMES[scheme].choose_params
    return {
        name: AttentionPlan(
            scheme=scheme, **{word: choose(stats[f"{name}.{word}"]) for word in ATTENTION_INPUTS}
        )
        for name in find_attention_matmuls(lowered)
    }


class FakeQuantAttention(nn.Module):
    """softmax(q kᵀ) v with fake quantization, (B, h, N, d)."""

    def __init__(self, plan: AttentionPlan) -> None:
        super().__init__()
        self.plan, self.scheme = plan, SCHEMES[plan.scheme]

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """The output in fp32, with the rounding of a runtime."""
        fake_quantize, plan = self.scheme.fake_quantize_input, self.plan
        keys = fake_quantize(keys, plan.keys)
        scores = fake_quantize(queries, plan.queries) @ keys.transpose(2, 3)  # (B, h, N, N)
        probabilities = torch.softmax(scores, dim=-1)
        largest = probabilities.amax(dim=-1, keepdim=True)
        quotients = fake_quantize(probabilities / largest, plan.quotients)
        return quotients @ fake_quantize(values, plan.values) * largest  # (B, h, N, d)


def quantize_attention(model: ir.Model, plans: Mapping[str, AttentionPlan]) -> None:
    """Rewrite both matmuls of every attention of `plans`, in place.

    Raises:
        BuildError: the graph lacks an attention of `plans`.
    """
    rewritten = set()
    for attention in find_attentions(model.graph):
        name = module_name(attention.score_matmul)
        if name in plans:
            _quantize_scores(NodeBuilder(model, attention.score_matmul), plans[name])
            _quantize_average(NodeBuilder(model, attention.value_matmul), plans[name])
            rewritten.add(name)
    if missing := set(plans) - rewritten:
        message = f"the graph has no {', '.join(sorted(missing))} to quantize."
        raise BuildError(message, "report this with the model's spec.")


def _quantize_scores(write: NodeBuilder, plan: AttentionPlan) -> None:
    queries, keys = write.anchor.inputs
    write.replace_anchor(_multiply(write, (queries, keys), (plan.queries, plan.keys)))


def _quantize_average(write: NodeBuilder, plan: AttentionPlan) -> None:
    probabilities, values = write.anchor.inputs
    last = write.add_constant("last_axis", np.array([-1], np.int64))
    largest = write("ReduceMax", probabilities, last, keepdims=1)
    quotients = write("Div", probabilities, largest, like=probabilities)
    product = _multiply(write, (quotients, values), (plan.quotients, plan.values))
    write.replace_anchor(write("Mul", product, largest))


def _multiply(
    write: NodeBuilder, sides: Sequence[ir.Value | None], params: Sequence[QuantParams | None]
) -> ir.Value:
    """The product of two values in eight bits, as floats."""
    left, right = (side for side in sides if side is not None)
    left_params, right_params = params
    if left_params is None or right_params is None:
        first, first_scale, first_zero = quantize_at_run_time(write, left)
        second, second_scale, second_zero = quantize_at_run_time(write, right)
        integers = (first, second, first_zero, second_zero)
        return multiply_integers(write, integers, (first_scale, second_scale))
    inputs = (
        quantize_dequantize(write, left, left_params, "left"),
        quantize_dequantize(write, right, right_params, "right"),
    )
    return write("MatMul", *inputs, like=write.anchor.outputs[0])
