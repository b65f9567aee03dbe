"""The layers that quantization is about: the linear ones of the encoder's blocks.

Patch projection, head and the products inside attention stay as they are where nobody includes
them: a few percent of the arithmetic, and the most sensitive.
"""

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import nn

from vit_export.core.errors import RequestError
from vit_export.model.vit.lowering import LoweredVit
from vit_export.model.vit.lowering.block import AttentionProducts
from vit_export.model.vit.lowering.rewrites import linear_of

ENCODER = "blocks."
CONTRACT = "mlp.contract"
INCLUDED = {"patches": "embedding.projection", "head": "head."}
"""Where linear layers stand that are quantized only when they are asked for."""


@dataclass(frozen=True)
class NormFed:
    """A LayerNorm and all linear layers that read it."""

    norm: str
    readers: tuple[str, ...]


@dataclass(frozen=True)
class ValueFed:
    """A projection after attention, whose every input channel is a mean of one value channel."""

    values: str
    """The linear layer whose last rows are the values, as many as the projection has inputs."""
    reader: str
    mixed: str
    """What goes into attention's second product of them, where that is looked at."""


def linear_layers(lowered: LoweredVit, include: Collection[str] = ()) -> dict[str, nn.Linear]:
    """The linear layers of all blocks, and of those parts in `include`, by name in order."""
    places = (ENCODER, *(place for part, place in INCLUDED.items() if part in include))
    return {
        name: module
        for name, module in lowered.named_modules()
        if name.startswith(places) and isinstance(module, nn.Linear)
    }


def check_parts(lowered: LoweredVit, include: Collection[str]) -> None:
    """Nothing, when `lowered` has linear layers in every part of `include`.

    Raises:
        RequestError: it does not.
    """
    for part in set(INCLUDED) & set(include):
        if len(linear_layers(lowered, [part])) == len(linear_layers(lowered)):
            message = f"The {part} of this model has no linear layer."
            raise RequestError(message, f"leave --include {part} out.")


def give_biases(lowered: LoweredVit, include: Collection[str]) -> None:
    """A bias of zeros, in place, to layers without one: the mean error of rounding goes there."""
    for name, layer in linear_layers(lowered, include).items():
        if layer.bias is None:
            zeros = torch.zeros(layer.out_features)
            lowered.set_submodule(name, linear_of(layer.weight, zeros))


def products(lowered: LoweredVit) -> dict[str, AttentionProducts]:
    """The products of every attention of the encoder by name, in order."""
    return {
        name: module
        for name, module in lowered.named_modules()
        if isinstance(module, AttentionProducts)
    }


def norms_of(lowered: LoweredVit) -> list[NormFed]:
    """The LayerNorms of all blocks that linear layers alone read."""
    layers = linear_layers(lowered)
    fed = []
    for block in range(len(lowered.blocks)):
        for norm, parts in (
            ("attention_norm", ("attention.qkv", "attention.query", "attention.key_value")),
            ("mlp_norm", ("mlp.expand",)),
        ):
            readers = tuple(f"{ENCODER}{block}.{part}" for part in parts)
            found = tuple(reader for reader in readers if reader in layers)
            fed.append(NormFed(f"{ENCODER}{block}.{norm}", found))
    return fed


def values_of(lowered: LoweredVit) -> list[ValueFed]:
    """The projections after attention, each with the layer that makes the values."""
    layers = linear_layers(lowered)
    fed = []
    for block in range(len(lowered.blocks)):
        scope = f"{ENCODER}{block}.attention"
        values = next(n for n in (f"{scope}.qkv", f"{scope}.key_value") if n in layers)
        fed.append(ValueFed(values, f"{scope}.projection", f"{scope}.products.values"))
    return fed
