"""What a request exports: an eager model and what belongs to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vit_export.data.preprocessing import Preprocessing

if TYPE_CHECKING:  # torch is heavy, and reading a request must be light
    from vit_export.model.vit.adapt import Resampling
    from vit_export.model.vit.vit import Vit


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """An eager model, never touched again, and what travels with it."""

    name: str
    vit: "Vit"
    weights_from: str
    random: bool
    """Whether the weights are random: right for speed and size, worthless for answers."""
    overrides: Mapping[str, Any]
    """What is not as the files say; `trained` holds what the weights were trained as."""
    preprocessing: Preprocessing | None
    preprocessing_note: str = ""
    """What has to be said of it: that it is assumed, or was brought to another size."""
    labels: tuple[str, ...]
    resampling: "Resampling | None" = None
    """How its family moves positions to another grid; None for timm's way."""
    unused: Mapping[str, str] = field(default_factory=dict)
    """Tensors of the checkpoint that the model has no use for, with the reason."""
