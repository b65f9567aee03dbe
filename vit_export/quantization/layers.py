"""Which layers of a lowered ViT are quantized: the linear layers of the encoder's blocks.

Patch projection, head and the matmuls inside attention are quantized on request only. They are a
few percent of the arithmetic, and its most sensitive part.
"""

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import nn

from vit_export.core.errors import RequestError
from vit_export.model.vit.lowering import LoweredVit
from vit_export.model.vit.lowering.block import AttentionMatmuls
from vit_export.model.vit.lowering.rewrites import make_linear

ENCODER = "blocks."
CONTRACT = "mlp.contract"
READERS = {
    "attention_norm": ("attention.qkv", "attention.query", "attention.key_value"),
    "attention.norm": ("attention.projection",),
    "mlp_norm": ("mlp.expand",),
    "mlp.norm": (CONTRACT,),
}
"""Norms of a block and the layers that may read them, by names inside the block."""
PART_PREFIXES = {"patches": "embedding.projection", "head": "head."}
"""Values of --include, each with the prefix of the layers that it adds."""


@dataclass(frozen=True)
class NormReaders:
    """A LayerNorm and the linear layers that read it, by module name."""

    norm: str
    readers: tuple[str, ...]
    """All modules that read the LayerNorm."""


@dataclass(frozen=True)
class ValueProjection:
    """The output projection of an attention, and the layer that computes its values.

    Attention averages values channel by channel, so a shift of a value channel is a shift of the
    same input channel of the projection.
    """

    values: str
    """Linear layer whose last rows compute the values, one row per input of the projection."""
    projection: str
    matmul_input: str
    """Name under which statistics of the values are kept, if attention is quantized."""


def find_linear_layers(lowered: LoweredVit, include: Collection[str] = ()) -> dict[str, nn.Linear]:
    """The linear layers of all blocks and of the parts in `include`, by module name, in order."""
    prefixes = (ENCODER, *(prefix for part, prefix in PART_PREFIXES.items() if part in include))
    return {
        name: module
        for name, module in lowered.named_modules()
        if name.startswith(prefixes) and isinstance(module, nn.Linear)
    }


def check_parts(lowered: LoweredVit, include: Collection[str]) -> None:
    """Raise RequestError unless `lowered` has linear layers in every part of `include`."""
    for part in set(PART_PREFIXES) & set(include):
        if len(find_linear_layers(lowered, [part])) == len(find_linear_layers(lowered)):
            message = f"The {part} of this model has no linear layer."
            raise RequestError(message, f"leave --include {part} out.")


def add_biases(lowered: LoweredVit, include: Collection[str]) -> None:
    """Give layers without a bias one of zeros, in place, to take the mean error of rounding."""
    for name, layer in find_linear_layers(lowered, include).items():
        if layer.bias is None:
            zeros = torch.zeros(layer.out_features)
            lowered.set_submodule(name, make_linear(layer.weight, zeros))


def find_attention_matmuls(lowered: LoweredVit) -> dict[str, AttentionMatmuls]:
    """The matmuls of every attention of the encoder, by module name, in order."""
    return {
        name: module
        for name, module in lowered.named_modules()
        if isinstance(module, AttentionMatmuls)
    }


def find_norms(lowered: LoweredVit) -> list[NormReaders]:
    """The LayerNorms of all blocks, each read by linear layers only."""
    layers, modules = find_linear_layers(lowered), dict(lowered.named_modules())
    norms = []
    for block in range(len(lowered.blocks)):
        for norm, parts in READERS.items():
            names = (f"{ENCODER}{block}.{part}" for part in parts)
            readers = tuple(name for name in names if name in layers)
            if isinstance(modules.get(f"{ENCODER}{block}.{norm}"), nn.LayerNorm):
                norms.append(NormReaders(f"{ENCODER}{block}.{norm}", readers))
    return norms


def find_value_projections(lowered: LoweredVit) -> list[ValueProjection]:
    """The output projection of every attention, in order, but for those behind a norm."""
    layers = find_linear_layers(lowered)
    behind_norms = {reader for norm in find_norms(lowered) for reader in norm.readers}
    projections = []
    for block in range(len(lowered.blocks)):
        scope = f"{ENCODER}{block}.attention"
        if f"{scope}.projection" in behind_norms:
            continue
        values = next(n for n in (f"{scope}.qkv", f"{scope}.key_value") if n in layers)
        projection, matmul_input = f"{scope}.projection", f"{scope}.products.values"
        projections.append(ValueProjection(values, projection, matmul_input))
    return projections
