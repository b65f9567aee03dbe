"""A checkpoint family: tensor names that identify it, their translation, and its conventions."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from vit_export.model.vit.adapt import TIMM_RESAMPLING, Resampling
from vit_export.model.vit.spec import VitSpec

Facts = dict[str, Any]
"""Known fields of VitSpec."""
UNKNOWN = "unknown"
"""Value of a convention that only the name of the architecture settles."""
Config = Mapping[str, Any]
"""Content of a config.json."""


def no_facts(_: Any) -> Facts:
    """Return no facts."""
    return {}


def never(_: Any) -> bool:
    """Return False, whatever the config.json says."""
    return False


def no_preprocessing(_: Any) -> None:
    """Return no preprocessing."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """A convention that published models with the same parts do not share: it is asked for."""

    field: str
    """A field of VitSpec, or `block`."""
    when: str = ""
    """The parts of these models, in words; empty if the question is about every model."""
    applies: Callable[[Facts], bool] = lambda _: True
    """Whether the fields of VitSpec that tensors show are those of such a model."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """One way of naming the tensors of a ViT. Their names are regular expressions."""

    name: str
    marks: tuple[str, ...]
    """Names that all checkpoints of this family have, and none of a family listed before it."""
    names: Mapping[str, str]
    """The family's names to ours, which are those of `Vit` and of the parts in `FUSED_LAYERS`."""
    unused: Mapping[str, str] = field(default_factory=dict)
    """Names of tensors that the model does not need, each with the reason."""
    unsupported: Mapping[str, str] = field(default_factory=dict)
    """Names of tensors of a part that is not supported, each with that part."""
    lacks: tuple[str, ...] = ()
    """Names that no checkpoint of this family has."""
    optional_biases: frozenset[str] = frozenset()
    """Layers of a block, in our names, that count as one with a bias of zeros if none has one.

    A part in `FUSED_LAYERS` does so if the other parts have one.
    """
    transposed: frozenset[str] = frozenset()
    """Our names of matrices that the family stores transposed."""
    conventions: Facts = field(default_factory=dict)
    """Facts about the models of the family; its file cites the source."""
    fixed: frozenset[str] = frozenset()
    """Conventions that the family's code does not let its users change; the others are assumed."""
    block: str = ""
    """Kind of the blocks, where the family's code has other kinds with the same tensors."""
    questions: tuple[Question, ...] = ()
    """Conventions that hold for some of the family's models alone."""
    replaced_head: str = ""
    """The layer that takes the place of the library's classifier; only a read family has one."""
    required: tuple[str, ...] = ()
    """Our names that every model of the family has; a file without them is incomplete."""
    rivals: Mapping[str, str] = field(default_factory=dict)
    """Names of layers that may stand before a classifier, each with the advice that settles it.

    A config.json that names a class of the library settles it as well.
    """
    own_head: "Family | None" = None
    """The family of the same tower whose pooled features a classifier of the user's own reads.

    None stands for this family.
    """
    norm_behind_pool: "Family | None" = None
    """The same family with its final norm behind the pool, if it has such models."""
    head_has_bias: bool = True
    """Whether the classifier, if there is one, always has a bias."""
    lacks_norm: Callable[[Config], bool] = never
    """Whether a config.json says that the model has no final norm."""
    model_types: tuple[str, ...] = ()
    """Values of `model_type` in the family's config.json files."""
    config_sizes: Mapping[str, str] = field(default_factory=dict)
    """Keys of a config.json to fields of VitSpec that have to agree with the tensors."""
    config_values: Config = field(default_factory=dict)
    """Values of a config.json that the tensors show, where the library's defaults differ."""
    config_facts: Callable[[Config], Facts] = no_facts
    """Facts from a config.json."""
    config_preprocessing: Callable[[Config], Mapping[str, Any] | None] = no_preprocessing
    """Fields of Preprocessing from a config.json, if it has them."""
    module_facts: Callable[[nn.Module], Facts] = no_facts
    """Facts from a module in memory."""
    resampling: Resampling = TIMM_RESAMPLING
    """How the family's own code resamples positions to another grid."""
    is_shared: bool = False
    """Whether other code than the library's saves the same names, and resamples in other ways."""
    library: str = ""
    """Name in `LIBRARIES` of the library that has these models; empty if none has."""
    is_square: bool = False
    """Whether the library reads tables of relative positions right for square grids alone."""
    takes_any_size: bool = False
    """Whether the family's own code resamples positions unasked, for images of any size."""
    processor: str | None = None
    """Class of its image processor in `transformers`, for files that do not name one."""
    preprocessing: Mapping[str, Any] | None = None
    """The family's documented default; sizes are for a crop of 224."""
    preprocessing_variants: Mapping[tuple[str, ...], Mapping[str, Any]] = field(
        default_factory=dict
    )
    """Default of models that have all the parts in the key, which are fields of VitSpec."""

    def choose_preprocessing(self, spec: VitSpec) -> Mapping[str, Any] | None:
        """Return the documented default preprocessing of a model of this family."""
        for parts, fields in self.preprocessing_variants.items():
            if all(getattr(spec, part) for part in parts):
                return fields
        return self.preprocessing

    def recognizes(self, names: Collection[str]) -> bool:
        """Return whether every mark is among `names`, and nothing that the family lacks."""
        return not self.missing_marks(names) and not any(
            re.fullmatch(pattern, name) for pattern in self.lacks for name in names
        )

    def missing_marks(self, names: Collection[str]) -> list[str]:
        """Return the marks that are not among `names`."""
        return [m for m in self.marks if not any(re.fullmatch(m, name) for name in names)]

    def count_known(self, names: Collection[str]) -> int:
        """Return how many of `names` belong to this family's image model."""
        patterns = (*self.names, *self.unsupported)
        return sum(any(re.fullmatch(pattern, name) for pattern in patterns) for name in names)
