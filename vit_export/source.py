"""What a request exports: an eager model and what belongs to it; and how a request says that."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vit_export.errors import RequestError
from vit_export.spec import VitSpec
from vit_export.vit.preprocess import Preprocessing

if TYPE_CHECKING:  # torch is heavy, and reading a request must be light
    from vit_export.vit.eager import Vit
    from vit_export.vit.families.base import Resampling


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """An eager model, never touched again, and what travels with it."""

    name: str
    vit: "Vit"
    weights_from: str
    random: bool
    """Whether the weights are random: right for speed and size, worthless for answers."""
    overrides: Mapping[str, Any]
    preprocessing: Preprocessing | None
    labels: tuple[str, ...]
    resampling: "Resampling | None" = None
    """How its family moves positions to another grid; None for timm's way."""
    unused: Mapping[str, str] = field(default_factory=dict)
    """Tensors of the checkpoint that the model has no use for, with the reason."""


def parse_image_size(text: str) -> tuple[int, int]:
    """`384` or `384x256` as (height, width).

    Raises:
        RequestError: anything else.
    """
    if not re.fullmatch(r"[1-9]\d{0,4}(x[1-9]\d{0,4})?", text):
        raise RequestError(f"{text!r} is no image size.", "give HEIGHTxWIDTH or one side: 384x256.")
    height, _, width = text.partition("x")
    return int(height), int(width or height)


def told_of(
    heads: int | None,
    activation: str | None,
    pool: str | None,
    norm_eps: float | None,
    trained_size: str | None,
) -> dict[str, Any]:
    """The fields of VitSpec that a request tells of its checkpoint."""
    told: dict[str, Any] = {"heads": heads, "mlp": activation, "pool": pool, "norm_eps": norm_eps}
    if trained_size is not None:
        told["image_size"] = parse_image_size(trained_size)
    return {name: value for name, value in told.items() if value is not None}


def overrides_of(spec: VitSpec, image_size: str | None, classes: int | None) -> dict[str, Any]:
    """The fields of `spec` that a request changes, with their new values."""
    wanted: dict[str, Any] = {}
    if image_size is not None and parse_image_size(image_size) != spec.image_size:
        wanted["image_size"] = parse_image_size(image_size)
    if classes is not None and classes != spec.classes:
        wanted["classes"] = classes
    return wanted
