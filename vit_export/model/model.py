"""A model as the stages know it: an eager module, its signature, and what travels with it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from vit_export.data.preprocessing import Preprocessing
from vit_export.model.signature import ProblemType, Signature
from vit_export.model.vit.spec import VitSpec

if TYPE_CHECKING:  # torch is heavy, and reading a request must be light
    from torch import nn

    from vit_export.model.vit.adapt import Resampling
    from vit_export.model.vit.vit import Vit


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where a model's weights come from."""

    weights_from: str
    """A phrase: the name of a file, `random, seed 0`, or a module in memory."""
    random_weights: bool = False
    """Whether the weights are random: fine to measure speed and size, useless for answers."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Settings that the request changed. `trained` is the spec before these changes."""
    preset: str = ""
    """Name of the shipped preset that completes the model; empty for all others."""
    unused: Mapping[str, str] = field(default_factory=dict)
    """Tensors of the checkpoint that the model does not use, each with the reason."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """An eager model in fp32. The module is the reference and is never changed."""

    name: str
    module: "nn.Module"
    signature: Signature
    spec: VitSpec | None = None
    """The spec of a known Vision Transformer; None for any other module."""
    provenance: Provenance
    preprocessing: Preprocessing | None = None
    preprocessing_note: str = ""
    """A phrase for reports, if the preprocessing is assumed or adapted to another image size."""
    pipeline: Preprocessing | None = None
    """The checkpoint's own preprocessing, if it makes images of another size than the trained one.

    It is set where the model's own library computes at that size. An export then does so too,
    unless the request says otherwise.
    """
    size_note: str = ""
    """A phrase for reports, if the images are not of the size that the config.json names."""
    labels: tuple[str, ...] = ()
    """Names of the classes in order; empty if they have none."""
    problem_type: ProblemType = "single_label"
    """What the logits are for; it has no meaning for a model without classes."""
    assumed: Mapping[str, Any] = field(default_factory=dict)
    """Facts that neither tensors nor a config record, and nobody gave, with the assumed values."""
    reading: str = ""
    """What confirms the reading of a checkpoint, for reports; empty for other models."""
    resampling: "Resampling | None" = None
    """How the model's family resamples positions to another grid; None for timm's way."""

    @classmethod
    def from_vit(cls, vit: "Vit", *, name: str, provenance: Provenance, **rest: Any) -> Self:
        """The model of a Vision Transformer, whose spec gives the signature."""
        spec = vit.spec
        return cls(
            name=name,
            module=vit,
            signature=spec.signature,
            spec=spec,
            provenance=provenance,
            **rest,
        )

    @property
    def image_notes(self) -> str:
        """What reports say of images: notes on their preprocessing, size, and pixels left out."""
        notes = [self.preprocessing_note, self.size_note]
        if self.spec is not None and self.spec.covered_size != self.spec.image_size:
            covered, whole = (f"{h}x{w}" for h, w in (self.spec.covered_size, self.spec.image_size))
            notes.append(f"the patches cover {covered} of {whole} pixels, as in the library")
        return "; ".join(filter(None, notes))

    @property
    def vit(self) -> "Vit":
        """The module of a known Vision Transformer.

        Raises:
            TypeError: the model is another module.
        """
        from vit_export.model.vit.vit import Vit

        if not isinstance(self.module, Vit):
            raise TypeError(f"{self.name} is not a known Vision Transformer.")
        return self.module

    def with_vit(self, vit: "Vit", **changes: Any) -> Self:
        """The same model with another Vision Transformer and its signature."""
        return replace(self, module=vit, signature=vit.spec.signature, spec=vit.spec, **changes)

    def with_overrides(self, overrides: Mapping[str, Any], **changes: Any) -> Self:
        """The same model, with `overrides` added to what the request changed."""
        added = {**self.provenance.overrides, **overrides}
        return replace(self, provenance=replace(self.provenance, overrides=added), **changes)
