"""The two products inside attention in eight bits: q kᵀ, and what softmax makes of it times v.

Neither has a weight, so both sides are rounded as they come. They are a few percent of a model's
arithmetic and its most sensitive part: they are quantized only where `--include attention` asks.

What softmax answers is divided by each row's largest share first: a token that looks at all others
alike has shares of one in hundreds, and one step of a range up to one would be as large as they.
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
from vit_export.model.vit.lowering import LoweredVit
from vit_export.quantization.forms import integer_product, restored
from vit_export.quantization.layers import products
from vit_export.quantization.observer import INPUTS, Observed
from vit_export.quantization.schemes import INT8_LARGEST, SCHEMES, Range

UP_TO_ONE: Range = (1 / INT8_LARGEST, None)


@dataclass(frozen=True, kw_only=True)
class ProductsPlan:
    """How the products of one attention are quantized."""

    scheme: str
    """`int8` or `int8-static`."""
    ranges: tuple[Range | None, Range | None, Range | None]
    """Of queries, keys and values; None where they are found at run time."""

    @property
    def shares(self) -> Range | None:
        """The range of what softmax answers, as parts of each row's largest share."""
        return None if None in self.ranges else UP_TO_ONE


def plan_products(
    lowered: LoweredVit, seen: Mapping[str, Observed], scheme: str
) -> dict[str, ProductsPlan]:
    """A plan for every attention of the encoder, by module name."""
    queries, keys, values = INPUTS
    how = SCHEMES[scheme]

    def told(name: str, word: str) -> Range | None:
        return how.range_of(seen[f"{name}.{word}"])

    return {
        name: ProductsPlan(
            scheme=scheme, ranges=(told(name, queries), told(name, keys), told(name, values))
        )
        for name in products(lowered)
    }


class PlayedProducts(nn.Module):
    """Attention's products as their plan quantizes them, (B, h, N, d)."""

    def __init__(self, plan: ProductsPlan) -> None:
        super().__init__()
        self.plan, self.scheme = plan, SCHEMES[plan.scheme]

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """The answer in float, as a runtime gives it."""
        of_queries, of_keys, of_values = self.plan.ranges
        keys = self.scheme.restored_input(keys, of_keys)
        scores = self.scheme.restored_input(queries, of_queries) @ keys.transpose(2, 3)
        shares = torch.softmax(scores, dim=-1)
        largest = shares.amax(dim=-1, keepdim=True)
        parts = self.scheme.restored_input(shares / largest, self.plan.shares)
        return parts @ self.scheme.restored_input(values, of_values) * largest


def quantize_products(model: ir.Model, plans: Mapping[str, ProductsPlan]) -> None:
    """Rewrites, in place, both products of every attention of `plans`.

    Raises:
        BuildError: the graph does not have one of them.
    """
    written = set()
    for attention in find_attentions(model.graph):
        name = module_name(attention.score_matmul)
        if name in plans:
            _quantize_scores(NodeBuilder(model, attention.score_matmul), plans[name])
            _quantize_mixed(NodeBuilder(model, attention.value_matmul), plans[name])
            written.add(name)
    if missing := set(plans) - written:
        message = f"the graph has no {', '.join(sorted(missing))} to quantize."
        raise BuildError(message, "report this with the model's spec.")


def _quantize_scores(write: NodeBuilder, plan: ProductsPlan) -> None:
    queries, keys = write.anchor.inputs
    write.replace_anchor(_product(write, (queries, keys), plan.ranges[:2]))


def _quantize_mixed(write: NodeBuilder, plan: ProductsPlan) -> None:
    shares, values = write.anchor.inputs
    last = write.add_constant("last_axis", np.array([-1], np.int64))
    largest = write("ReduceMax", shares, last, keepdims=1)
    parts = write("Div", shares, largest, like=shares)
    product = _product(write, (parts, values), (plan.shares, plan.ranges[2]))
    write.replace_anchor(write("Mul", product, largest))


def _product(
    write: NodeBuilder, sides: Sequence[ir.Value | None], ranges: Sequence[Range | None]
) -> ir.Value:
    """Of two values, as integers; without ranges these are found at run time."""
    left, right = (side for side in sides if side is not None)
    first, second = ranges
    if first is None or second is None:
        return integer_product(write, left, right)
    inputs = restored(write, left, first, "left"), restored(write, right, second, "right")
    return write("MatMul", *inputs, like=write.anchor.outputs[0])
