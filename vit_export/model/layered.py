"""A module as quantization sees it: which layers it has, by name, and what each is for."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from torch import nn


@dataclass(frozen=True)
class NormReaders:
    """A LayerNorm and the linear layers that read it, by name."""

    norm: str
    readers: tuple[str, ...]
    """All layers that read the LayerNorm."""


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


@dataclass(frozen=True, kw_only=True)
class LayerRoles:
    """The layers of a module by what they are for. All names are those of `LayeredModule`."""

    blocks: tuple[str, ...]
    """The linear layers that are quantized unless the request says otherwise, in order."""
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The linear layers that each value of --include adds, in order."""
    norms: tuple[NormReaders, ...] = ()
    """The LayerNorms that linear layers alone read."""
    value_projections: tuple[ValueProjection, ...] = ()
    attentions: tuple[str, ...] = ()
    """The matmuls of each attention, in order."""
    activated: frozenset[str] = frozenset()
    """The linear layers that read the output of an activation function."""

    def select(self, include: Collection[str] = ()) -> tuple[str, ...]:
        """The linear layers of the blocks and of the parts in `include`."""
        added = (name for part, names in self.parts.items() if part in include for name in names)
        return (*self.blocks, *added)


class LayeredModule(nn.Module):
    """A lowered module that says what its layers are for, and lets them be replaced."""

    kept: Mapping[str, str] = MappingProxyType({})
    """Linear layers that stay in fp32 whatever the request, each with the reason."""

    @property
    def roles(self) -> LayerRoles:
        """What each layer is for."""
        raise NotImplementedError

    @property
    def sha256(self) -> str:
        """The hash of what it computes; empty if the weights and the spec of a model say it."""
        return ""

    def get_layer(self, name: str) -> nn.Module:
        """The layer of this name."""
        return self.get_submodule(name)

    def set_layer(self, name: str, layer: nn.Module) -> None:
        """Put another layer in the place of the one of this name."""
        self.set_submodule(name, layer)
