"""Which layers of a lowered module are quantized: the linear layers of its blocks.

Patch projection, head and the matmuls inside attention are quantized on request only. They are a
few percent of the arithmetic, and its most sensitive part.
"""

from collections.abc import Collection
from typing import cast

import torch
from torch import nn

from vit_export.core.errors import RequestError
from vit_export.model.layered import LayeredModule
from vit_export.model.vit.lowering.rewrites import make_linear


def find_linear_layers(
    lowered: LayeredModule, include: Collection[str] = ()
) -> dict[str, nn.Linear]:
    """The linear layers of all blocks and of the parts in `include`, without those kept in fp32."""
    names = (name for name in lowered.roles.select(include) if name not in lowered.kept)
    return {name: get_linear(lowered, name) for name in names}


def get_linear(lowered: LayeredModule, name: str) -> nn.Linear:
    """The linear layer of this name."""
    return cast("nn.Linear", lowered.get_layer(name))


def check_parts(lowered: LayeredModule, include: Collection[str]) -> None:
    """Raise RequestError unless `lowered` has linear layers in every part of `include`."""
    for part, names in lowered.roles.parts.items():
        if part in include and not names:
            message = f"The {part} of this model has no linear layer."
            raise RequestError(message, f"leave --include {part} out.")
    if "attention" in include and not lowered.roles.attentions:
        message = "No attention of this model has a form that can be quantized."
        raise RequestError(message, "leave --include attention out.")


def add_biases(lowered: LayeredModule, include: Collection[str]) -> None:
    """Give layers without a bias one of zeros, in place, to take the mean error of rounding."""
    for name, layer in find_linear_layers(lowered, include).items():
        if layer.bias is None:
            zeros = torch.zeros(layer.out_features)
            lowered.set_layer(name, make_linear(layer.weight, zeros))


def find_attention_matmuls(lowered: LayeredModule) -> dict[str, nn.Module]:
    """The matmuls of every attention, by name, in order."""
    return {name: lowered.get_layer(name) for name in lowered.roles.attentions}
