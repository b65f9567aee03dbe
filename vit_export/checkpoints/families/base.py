"""What a checkpoint family is: how to recognise it, and what its names and conventions mean."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from vit_export.core.errors import RequestError
from vit_export.model.vit.adapt import TIMM_RESAMPLING, Resampling
from vit_export.model.vit.spec import VitSpec
from vit_export.model.vit.state import FUSED_LAYERS, StateDict

Facts = dict[str, Any]
"""Fields of VitSpec, as far as they are known."""

JOINER = " + "
"""Text between the names of a fused layer's parts, in errors."""
TOKENS = ("class_token", "distillation_token", "register_tokens", "positions", "probe")


@dataclass(frozen=True)
class Renamed:
    """The tensors of a checkpoint under our names, and those that the model has no use for."""

    tensors: dict[str, Tensor]
    unused: dict[str, str]
    """Name to reason."""
    origins: dict[str, str]
    """Our name to that of the file; of what came in parts, to all of them."""


def nothing_known(_: Any) -> Facts:
    """No facts at all."""
    return {}


def never(_: Any) -> bool:
    """Not so, whatever the config.json says."""
    return False


def no_steps(_: Any) -> None:
    """No preprocessing."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """One way of naming the tensors of a ViT. All names are regular expressions."""

    name: str
    marks: tuple[str, ...]
    """Names that a checkpoint of this family has, and of no family listed before it."""
    names: Mapping[str, str]
    """Their names to ours, which are those of `Vit` and of the parts in `FUSED_LAYERS`."""
    unused: Mapping[str, str] = field(default_factory=dict)
    """Names to the reason why the model does without them."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Names to what they mean, where that is not built yet."""
    transposed: frozenset[str] = frozenset()
    """Our names whose tensors the family keeps the other way round."""
    conventions: Facts = field(default_factory=dict)
    """What holds for every model of the family; its file gives the source."""
    always: tuple[str, ...] = ()
    """Our names that every model of the family has; a file without them is not whole."""
    biased_head: bool = True
    """Whether its classifier, where there is one, has a bias."""
    normless: Callable[[Mapping[str, Any]], bool] = never
    """Whether a config.json says that the model does without a final norm."""
    model_types: tuple[str, ...] = ()
    """What `model_type` a config.json of the family may say."""
    config_sizes: Mapping[str, str] = field(default_factory=dict)
    """Keys of a config.json to the fields of VitSpec that the tensors have to agree with."""
    config_facts: Callable[[Mapping[str, Any]], Facts] = nothing_known
    """What a config.json of the family tells."""
    config_preprocessing: Callable[[Mapping[str, Any]], Mapping[str, Any] | None] = no_steps
    """The fields of Preprocessing that a config.json of the family tells, if it tells them."""
    module_facts: Callable[[nn.Module], Facts] = nothing_known
    """What a live module of the family tells."""
    resampling: Resampling = TIMM_RESAMPLING
    """How the family's own code brings positions to another grid."""
    processor: str | None = None
    """The class of image processor in `transformers`, where its file does not name it."""
    preprocessing: Mapping[str, Any] | None = None
    """The family's documented default; sizes relative to a crop of 224."""
    preprocessing_with: Mapping[tuple[str, ...], Mapping[str, Any]] = field(default_factory=dict)
    """Parts of a model (fields of VitSpec, all of them) to its default, where it differs."""

    def default_for(self, spec: VitSpec) -> Mapping[str, Any] | None:
        """The documented default preprocessing of a model of this family."""
        for parts, told in self.preprocessing_with.items():
            if all(getattr(spec, part) for part in parts):
                return told
        return self.preprocessing

    def recognises(self, names: Collection[str]) -> bool:
        """Whether every mark is among `names`."""
        return not self.missing(names)

    def missing(self, names: Collection[str]) -> list[str]:
        """The marks that are not among `names`."""
        return [m for m in self.marks if not any(re.fullmatch(m, name) for name in names)]

    def known(self, names: Collection[str]) -> int:
        """How many of `names` are of this family's image model."""
        patterns = (*self.names, *self.refused)
        return sum(any(re.fullmatch(one, name) for one in patterns) for name in names)

    def rename(self, state: StateDict) -> Renamed:
        """The tensors of `state` under our names.

        Names the family does not know stay as they are: loading reports them as unexpected.

        Raises:
            RequestError: a part of the model that is not built yet.
        """
        tensors: dict[str, Tensor] = {}
        unused: dict[str, str] = {}
        origins: dict[str, str] = {}
        for name, tensor in state.items():
            self._refuse(name)
            reason = _first(self.unused, name)
            if reason is not None:
                unused[name] = reason
            else:
                ours = _translate(self.names, name)
                origins[ours] = name
                turned = ours in self.transposed and tensor.ndim == 2  # noqa: PLR2004 a matrix
                tensors[ours] = _shaped(ours, tensor.T if turned else tensor)
        return Renamed(_fuse(tensors, origins), unused, origins)

    def _refuse(self, name: str) -> None:
        meaning = _first(self.refused, name)
        if meaning is not None:
            raise RequestError(
                f"{name}: {meaning} of {self.name} is not built yet.", "export another model."
            )


def _first(table: Mapping[str, str], name: str) -> str | None:
    return next((told for pattern, told in table.items() if re.fullmatch(pattern, name)), None)


def _translate(table: Mapping[str, str], name: str) -> str:
    for pattern, ours in table.items():
        if re.fullmatch(pattern, name):
            return re.sub(pattern, ours, name)
    return name


def _shaped(name: str, tensor: Tensor) -> Tensor:
    """Tokens and positions as (N, D): others keep an axis for the batch, or none for one token."""
    if name.endswith(TOKENS) and tensor.ndim and tensor.numel():
        return tensor.reshape(-1, tensor.shape[-1])
    return tensor


def _fuse(tensors: dict[str, Tensor], origins: dict[str, str]) -> dict[str, Tensor]:
    """Layers that came in parts, whole; one with parts missing or misfit stays as it is."""
    for whole, parts in FUSED_LAYERS.items():
        for name in [name for name in tensors if parts[0] in name]:
            names = [name.replace(parts[0], part) for part in parts]
            found = [tensors[part] for part in names if part in tensors and tensors[part].ndim]
            kinds = {(part.shape[1:], part.is_floating_point()) for part in found}
            if len(found) == len(names) and len(kinds) == 1:
                for part in names:
                    del tensors[part]
                ours = name.replace(parts[0], whole)
                tensors[ours] = torch.cat(_of_one_type(found))
                origins[ours] = JOINER.join(origins.pop(part) for part in names)
    return tensors


def _of_one_type(parts: list[Tensor]) -> list[Tensor]:
    """Mixed types as fp32, which the model is; some have no common type in torch."""
    if len({part.dtype for part in parts}) == 1 or not parts[0].is_floating_point():
        return parts
    return [part.to(torch.float32) for part in parts]
