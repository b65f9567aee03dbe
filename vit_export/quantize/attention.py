"""The two products inside attention in eight bits: q kᵀ, and what softmax makes of it times v.

Neither has a weight, so both sides are rounded as they come. They are a few percent of a model's
arithmetic and its most sensitive part: they are quantized only where `--include attention` asks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir
import torch
from torch import Tensor, nn

from vit_export.errors import BuildError
from vit_export.graph.attention import attentions
from vit_export.graph.nodes import scope
from vit_export.graph.writer import Writer
from vit_export.quantize.forms import integer_product, restored
from vit_export.quantize.layers import products
from vit_export.quantize.observe import INPUTS, Observed
from vit_export.quantize.schemes import SCHEMES, Range
from vit_export.vit.lower import LoweredVit

OF_A_SHARE: Range = (1 / 127, None)
"""Of what softmax answers: up to one, whatever the calibration saw."""


@dataclass(frozen=True, kw_only=True)
class ProductsPlan:
    """How the products of one attention are quantized."""

    scheme: str
    """`int8` or `int8-static`."""
    ranges: tuple[Range | None, Range | None, Range | None]
    """Of queries, keys and values; None where they are found at run time."""

    @property
    def shares(self) -> Range | None:
        """The range of what softmax answers."""
        return None if None in self.ranges else OF_A_SHARE


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
        shares = self.scheme.restored_input(torch.softmax(scores, dim=-1), self.plan.shares)
        return shares @ self.scheme.restored_input(values, of_values)


def quantize_products(model: ir.Model, plans: Mapping[str, ProductsPlan]) -> None:
    """Rewrites, in place, both products of every attention of `plans`.

    Raises:
        BuildError: the graph does not have one of them.
    """
    written = set()
    for attention in attentions(model.graph):
        name = scope(attention.scores)
        if name in plans:
            plan = plans[name]
            of_queries, of_keys, of_values = plan.ranges
            _rewrite(model, attention.scores, (of_queries, of_keys))
            _rewrite(model, attention.mixed, (plan.shares, of_values))
            written.add(name)
    if missing := set(plans) - written:
        message = f"the graph has no {', '.join(sorted(missing))} to quantize."
        raise BuildError(message, "report this with the model's spec.")


def _rewrite(model: ir.Model, product: ir.Node, ranges: Sequence[Range | None]) -> None:
    write = Writer(model, product)
    sides = [value for value in product.inputs if value is not None]
    if None in ranges:
        write.finish(integer_product(write, *sides))
        return
    told = zip(("left", "right"), sides, ranges, strict=True)
    made = [restored(write, value, range_, side) for side, value, range_ in told if range_]
    write.finish(write("MatMul", *made))
