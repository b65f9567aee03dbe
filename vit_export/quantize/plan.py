"""Which scheme each layer gets, with the numbers that a graph needs to say it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from vit_export.quantize.equalize import Seen
from vit_export.quantize.layers import encoder_layers
from vit_export.quantize.schemes import SCHEMES, Range
from vit_export.vit.lower import LoweredVit
from vit_export.vit.rewrites import linear_of


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Layers that are quantized, by module name; the others stay as they are."""

    schemes: Mapping[str, str] = field(default_factory=dict)
    """Names in `SCHEMES`."""
    ranges: Mapping[str, Range] = field(default_factory=dict)
    """Of what goes into layers, where they are not found at run time."""


def plan_of(seen: Seen, schemes: Mapping[str, str]) -> Plan:
    """The plan that gives each layer its scheme; what it has `seen` gives the static ranges."""
    told = {name: SCHEMES[scheme].range_of(seen[name]) for name, scheme in schemes.items()}
    ranges = {name: one for name, one in told.items() if one is not None}
    return Plan(schemes=schemes, ranges=ranges)


@torch.no_grad()
def correct_biases(lowered: LoweredVit, seen: Seen, plan: Plan) -> None:
    """Puts the mean error of rounded weights into the biases, in place.

    Of all that rounding does to an output, what it does to the mean of the input is the same for
    every image (Nagel et al., arXiv:1906.04721, section 4.2).
    """
    layers = encoder_layers(lowered)
    for name, scheme in plan.schemes.items():
        layer = layers[name]
        lost = layer.weight - SCHEMES[scheme].restored_weight(layer.weight)
        bias = lost @ seen[name].mean
        bias = bias if layer.bias is None else bias + layer.bias
        lowered.set_submodule(name, linear_of(layer.weight, bias))
