"""Overrides: size, outputs, labels and preprocessing that the user sets for the exported model."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from vit_export.core.errors import RequestError
from vit_export.data.sizes import parse_image_size
from vit_export.model.vit.spec import VitSpec

Outputs = str | Sequence[str]
"""A list of outputs as text, "token,layers:3,6", or its names (`model.output_names`)."""
Numbers = str | float | Sequence[float]
"""One number, several numbers, or several as text: "0.485,0.456,0.406"."""
MIN_SHARE = 1e-3
"""Minimum crop as a share of the resized image."""


@dataclass(frozen=True, kw_only=True)
class PreprocessingOverrides:
    """Fields of Preprocessing that the user sets. None leaves a field as it is."""

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    resize: int | tuple[int, int] | None = None
    """The shorter side, or height and width, in pixels."""
    crop: tuple[int, int] | None = None
    """Height and width in pixels."""
    share: float | None = None
    """The crop as a share of the resized image, which is timm's `crop_pct`."""
    interpolation: str | None = None

    def __bool__(self) -> bool:
        """Return whether the user set anything."""
        return bool(self.values())

    def values(self) -> dict[str, Any]:
        """Return the fields that the user set."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @property
    def complete(self) -> bool:
        """Whether resize, mean and std are set, so that no other preprocessing is needed."""
        sized = self.resize is not None or self.share is not None
        return sized and self.mean is not None and self.std is not None

    @classmethod
    def parse(
        cls,
        *,
        mean: Numbers | None = None,
        std: Numbers | None = None,
        resize: str | int | None = None,
        crop: str | float | None = None,
        interpolation: str | None = None,
    ) -> Self:
        """Return the overrides from the options of the command line and the Python functions.

        A crop with a decimal point is a share of the resized image; one without it is in pixels.

        Raises:
            RequestError: a text is no number or no size, or both a share and a resize are set.
        """
        pixels, share = (None, None) if crop is None else _parse_crop(str(crop))
        if share is not None and resize is not None:
            message = "A crop that is a share sets the resize already."
            raise RequestError(message, "leave --resize out, or give --crop in pixels.")
        return cls(
            mean=_parse_numbers(mean, "mean") if mean else None,
            std=_parse_numbers(std, "std") if std else None,
            resize=None if resize is None else _parse_resize(str(resize)),
            crop=pixels,
            share=share,
            interpolation=interpolation,
        )


@dataclass(frozen=True, kw_only=True)
class ModelOverrides:
    """Properties of the exported model that differ from its checkpoint or preset."""

    image_size: str | None = None
    """HEIGHTxWIDTH, or one side."""
    classes: int | None = None
    """Number of classes."""
    outputs: tuple[str, ...] | None = None
    """Names of what the model answers; None leaves that to the model."""
    labels: Path | None = None
    """A file that names the classes."""
    preprocessing: PreprocessingOverrides = field(default_factory=PreprocessingOverrides)

    def spec_changes(self, spec: VitSpec) -> dict[str, Any]:
        """Return the fields of `spec` that change, with their new values.

        Raises:
            RequestError: `image_size` is not an image size.
        """
        size = None if self.image_size is None else parse_image_size(self.image_size)
        changes: dict[str, Any] = {"image_size": size, "classes": self.classes}
        return {
            name: value
            for name, value in changes.items()
            if value is not None and value != getattr(spec, name)
        }


NO_OVERRIDES = ModelOverrides()


def _parse_numbers(value: Numbers, name: str) -> tuple[float, ...]:
    numbers = value.split(",") if isinstance(value, str) else value
    try:
        return tuple(
            float(one) for one in (numbers if isinstance(numbers, Sequence) else [numbers])
        )
    except ValueError:
        raise RequestError(f"{name} is {value!r}.", f"give numbers: --{name} 0.5,0.5,0.5") from None


def _parse_resize(text: str) -> int | tuple[int, int]:
    height, width = parse_image_size(text)
    return (height, width) if "x" in text else height


def _parse_crop(text: str) -> tuple[tuple[int, int] | None, float | None]:
    """Return (height, width) in pixels, and a share of the resized image; one of them is None."""
    try:
        if "." not in text:
            return parse_image_size(text), None
        share = float(text)
    except (RequestError, ValueError):
        share = 0.0
    if MIN_SHARE <= share <= 1:
        return None, share
    message = f"{text!r} is no crop."
    raise RequestError(
        message, "give pixels (224, 384x256), or a share of the resized side (0.875, 1.0)."
    )
