"""What a request says, parsed: of the checkpoint it gives, and of the model it wants."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from vit_export.core.errors import RequestError
from vit_export.model.vit.spec import VitSpec

Outputs = Literal["logits", "features", "tokens"]
Numbers = str | float | Sequence[float]
"""One number, several, or several in words: "0.485,0.456,0.406"."""
SMALLEST_SHARE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the exported model shall be, where that is not what its source is."""

    image_size: str | None = None
    """HxW, or one side."""
    classes: int | None = None
    outputs: Outputs | None = None
    labels: Path | None = None
    """A file that names the classes."""
    steps: Mapping[str, Any] = field(default_factory=dict)
    """Fields of Preprocessing, and `share` (`steps_of`)."""


NOTHING = Wanted()


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


def steps_of(
    mean: Numbers | None,
    std: Numbers | None,
    resize: str | int | None,
    crop: str | float | None,
    interpolation: str | None,
) -> dict[str, Any]:
    """The fields of Preprocessing that a request gives.

    A `crop` with a decimal point is a share of the resized image (timm's crop_pct), and is handed
    on as `share`; one without is in pixels.

    Raises:
        RequestError: not numbers or sizes, or a resize beside a share.
    """
    steps: dict[str, Any] = {"interpolation": interpolation}
    steps |= {
        name: _numbers(value, name) for name, value in (("mean", mean), ("std", std)) if value
    }
    if resize is not None:
        height, width = parse_image_size(str(resize))
        steps["resize"] = (height, width) if "x" in str(resize) else height
    if crop is not None:
        steps |= _crop(str(crop))
        if "share" in steps and resize is not None:
            message = "A crop that is a share tells the resize already."
            raise RequestError(message, "leave one of them out, or give the crop in pixels.")
    return {name: value for name, value in steps.items() if value is not None}


def _numbers(value: Numbers, name: str) -> tuple[float, ...]:
    given = value.split(",") if isinstance(value, str) else value
    try:
        return tuple(float(one) for one in (given if isinstance(given, Sequence) else [given]))
    except ValueError:
        raise RequestError(f"{name} is {value!r}.", f"give numbers: --{name} 0.5,0.5,0.5") from None


def _crop(text: str) -> dict[str, Any]:
    """A share of the resized side, as 0.875 or 1.0, or pixels."""
    try:
        if "." not in text:
            return {"crop": parse_image_size(text)}
        share = float(text)
    except (RequestError, ValueError):
        share = 0.0
    if SMALLEST_SHARE <= share <= 1:
        return {"share": share}
    message = f"{text!r} is no crop."
    raise RequestError(
        message, "give pixels (224, 384x256), or a share of the resized side (0.875, 1.0)."
    )
