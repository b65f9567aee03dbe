"""The layers that quantization is about: the linear ones of the encoder's blocks.

Patch convolution, head and the products inside attention stay as they are: a few percent of the
arithmetic, and the most sensitive.
"""

from dataclasses import dataclass

from torch import nn

from vit_export.graph.linear import ENCODER
from vit_export.vit.lower import LoweredVit

CONTRACT = "mlp.contract"


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


def encoder_layers(lowered: LoweredVit) -> dict[str, nn.Linear]:
    """The linear layers of all blocks by name, in order."""
    return {
        name: module
        for name, module in lowered.named_modules()
        if name.startswith(ENCODER) and isinstance(module, nn.Linear)
    }


def norms_of(lowered: LoweredVit) -> list[NormFed]:
    """The LayerNorms of all blocks that linear layers alone read."""
    layers = encoder_layers(lowered)
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
    layers = encoder_layers(lowered)
    fed = []
    for block in range(len(lowered.blocks)):
        scope = f"{ENCODER}{block}.attention"
        values = next(n for n in (f"{scope}.qkv", f"{scope}.key_value") if n in layers)
        fed.append(ValueFed(values, f"{scope}.projection"))
    return fed
