"""Which scheme each layer gets, with the numbers that a graph needs to say it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import nn

from vit_export.core.progress import Tell, counted
from vit_export.quantization.attention import ProductsPlan
from vit_export.quantization.gptq import round_compensating
from vit_export.quantization.observer import Observed
from vit_export.quantization.schemes import SCHEMES, Range
from vit_export.quantization.weights import Floats, Rounded


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerPlan:
    """How one linear layer is quantized."""

    scheme: str
    """A name in `SCHEMES`."""
    weight: Rounded
    bias: Floats
    """(N,)"""
    range: Range | None = None
    """Of what goes in, where it is not found at run time."""

    def rows(self, first: int, end: int) -> Self:
        """The part that answers with these rows."""
        weight = Rounded(self.weight.integers[first:end], self.weight.scales[first:end])
        return replace(self, weight=weight, bias=self.bias[first:end])


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """Layers that are quantized, by module name; the others stay as they are."""

    layers: Mapping[str, LayerPlan] = field(default_factory=dict)
    products: Mapping[str, ProductsPlan] = field(default_factory=dict)
    """Those inside attention, by module name."""

    @property
    def schemes(self) -> dict[str, str]:
        """The scheme of each layer, and of each attention's products."""
        layers = {name: layer.scheme for name, layer in self.layers.items()}
        return layers | {name: product.scheme for name, product in self.products.items()}

    @classmethod
    def of(
        cls,
        layers: Mapping[str, nn.Linear],
        seen: Mapping[str, Observed],
        schemes: Mapping[str, str],
        tell: Tell | None = None,
    ) -> Self:
        """The plan that gives `layers`, which have `seen` images, these schemes."""
        each = counted(schemes.items(), len(schemes), tell)
        return cls(layers={n: plan_layer(layers[n], seen[n], s) for n, s in each})


@torch.no_grad()
def plan_layer(layer: nn.Linear, seen: Observed, scheme: str) -> LayerPlan:
    """The layer's weight rounded for what it has `seen`, a bias for that, the range of its input.

    The bias takes in the mean error of the rounded weight: of all that rounding does to an output
    it is the same for every image (Nagel et al., arXiv:1906.04721, section 4.2). The rest is made
    up for by weights that are rounded later, on inputs as the scheme itself rounds them.
    """
    how = SCHEMES[scheme]
    told = how.range_of(seen)
    inputs = how.restored_input(seen.rows, told) - seen.mean
    weight = round_compensating(layer.weight, inputs, how.bits, how.block)
    lost = layer.weight - torch.from_numpy(weight.restored())
    bias = lost @ seen.mean
    bias = bias if layer.bias is None else bias + layer.bias
    return LayerPlan(scheme=scheme, weight=weight, bias=bias.numpy(), range=told)
