"""From an image of any size to the numbers that a model was trained on.

`Preprocessing` describes the steps and is part of every artifact. `load_image` and `preprocess`
carry them out with Pillow and NumPy alone, so that a device needs nothing else.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from vit_export.core.dataclass_checks import check_names, check_types
from vit_export.core.errors import RequestError
from vit_export.core.numerics import Array
from vit_export.data.decode import Mode

if TYPE_CHECKING:
    from PIL.Image import Image

Centre = Literal["round", "floor"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]

MAX_RESIZE = 16
"""Maximum resize as a multiple of the input's longer side; usual transforms stay below two."""
MAX_ASPECT_RATIO = 100
"""Longer side divided by shorter side: resizing a thinner image would fill the memory."""

MAX_VALUE = 1_000_000
"""Largest mean and std, and largest 1 / std: a picture has values of 0 to 1, and fp32 a range."""
MAX_SIDE = 65_536
"""Largest side of an image in pixels, as `VitSpec` has it."""


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How an image is resized, cropped at the centre, scaled to 0..1 and normalized.

    Sizes are (height, width) in pixels.
    """

    mode: Mode = "RGB"
    """Pillow's mode of the image: grey or colour; `channels` for what no image file holds."""
    resize: int | tuple[int, int]
    """Length of the shorter side, while the aspect ratio stays, or (height, width)."""
    crop: tuple[int, int]
    """Size of the model's input, cut from the centre."""
    centre: Centre = "round"
    """How half a pixel is rounded: torchvision rounds to even, `transformers` rounds down."""
    interpolation: Interpolation = "bicubic"
    """Pillow's filter for the resize."""
    mean: tuple[float, ...]
    """Mean of each channel, of values scaled to 0..1."""
    std: tuple[float, ...]
    """Standard deviation of each channel, of values scaled to 0..1."""

    def __post_init__(self) -> None:
        check_types(self)
        channels = {"L": 1, "RGB": 3, "channels": max(len(self.mean), 1)}[self.mode]
        for name in ("mean", "std"):
            if len(getattr(self, name)) != channels:
                message = f"{name} has {len(getattr(self, name))} values for mode {self.mode}."
                raise RequestError(message, f"give {channels}, one per channel.")
            if not all(abs(value) <= MAX_VALUE for value in getattr(self, name)):  # NaN neither
                message = f"{name} holds a value that is not finite, or above {MAX_VALUE:,}."
                raise RequestError(message, "give the numbers that the model was trained with.")
        if min(self.std) * MAX_VALUE < 1:
            raise RequestError("std holds a value that is not positive.", "give positive ones.")
        resize = (self.resize,) if isinstance(self.resize, int) else self.resize
        if min(*resize, *self.crop) <= 0 or max(self.crop) > MAX_SIDE:
            message = f"resize {self.resize} and crop {self.crop} are no sizes."
            raise RequestError(message, f"give positive ones, {MAX_SIDE} at most.")
        if not self._covers_crop():
            message = f"resize {self.resize} leaves less than the crop of {self.crop}."
            raise RequestError(message, "resize to at least the crop.")

    @property
    def reads_files(self) -> bool:
        """Whether image files hold what the model takes."""
        return self.mode != "channels"

    def _covers_crop(self) -> bool:
        if isinstance(self.resize, int):
            return self.resize >= max(self.crop)
        return all(side >= cut for side, cut in zip(self.resize, self.crop, strict=True))

    def adapt_to(self, size: tuple[int, int]) -> Self:
        """Return the same preprocessing for a model that takes images of `size`."""
        if isinstance(self.resize, int):
            ratio = self.resize / min(self.crop)
            return replace(self, crop=size, resize=max(round(min(size) * ratio), *size))
        height, width = (
            round(new * side / old)
            for new, side, old in zip(size, self.resize, self.crop, strict=True)
        )
        return replace(self, crop=size, resize=(height, width))

    def to_mapping(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str) -> Self:
        """Return the preprocessing with the given fields; errors name `where`, their origin.

        Raises:
            RequestError: a field is missing, unknown or of the wrong type, or its value is invalid.
        """
        check_names(values, cls, where)
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        try:
            return cls(**fields)
        except TypeError as error:
            reason = str(error).rpartition("() ")[2]
            raise RequestError(
                f"{where}: {reason}.", "give every value that has no default."
            ) from None
        except RequestError as error:
            raise RequestError(f"{where}: {error.message}", error.fix) from None


def choose_mode(channels: int) -> Mode:
    """Return the mode of images with a number of channels."""
    return "L" if channels == 1 else "RGB" if channels == 3 else "channels"  # noqa: PLR2004 colour


def check_reads_files(preprocessing: Preprocessing, fix: str) -> None:
    """Raise RequestError with `fix` unless image files hold what the model takes."""
    if not preprocessing.reads_files:
        message = f"The model takes images of {len(preprocessing.mean)} channels, "
        raise RequestError(f"{message}which no image file holds.", fix)


def preprocess(image: "Image", preprocessing: Preprocessing) -> Array:
    """Return the model's input for one image, normalized fp32 (C, H, W).

    Sizes are computed as in torchvision's Resize and CenterCrop.

    Raises:
        RequestError: the image is so elongated that resizing it would fill the memory.
    """
    from PIL.Image import Resampling

    height, width = compute_resized_size(image.height, image.width, preprocessing)
    resized = image.resize((width, height), Resampling[preprocessing.interpolation.upper()])
    (rows, columns), to_int = preprocessing.crop, round if preprocessing.centre == "round" else int
    top, left = to_int((height - rows) / 2), to_int((width - columns) / 2)
    crop = resized.crop((left, top, left + columns, top + rows))
    values = np.asarray(crop, np.float32) / np.float32(255)
    values = values.reshape(rows, columns, len(preprocessing.mean))  # (H, W, C)
    mean, std = (np.array(row, np.float32) for row in (preprocessing.mean, preprocessing.std))
    return np.ascontiguousarray(((values - mean) / std).transpose(2, 0, 1))  # (C, H, W)


def compute_resized_size(height: int, width: int, preprocessing: Preprocessing) -> tuple[int, int]:
    """Return height and width in pixels after the resize of an image of `height` and `width`.

    Raises:
        RequestError: the image is so elongated that resizing it would fill the memory.
    """
    if not isinstance(preprocessing.resize, int):
        return preprocessing.resize
    shorter = min(height, width)
    if max(height, width) > MAX_ASPECT_RATIO * shorter:
        message = f"an image of {height}x{width} (height x width) is too elongated."
        raise RequestError(message, f"crop it to at most {MAX_ASPECT_RATIO}:1.")
    return preprocessing.resize * height // shorter, preprocessing.resize * width // shorter


def check_resize(preprocessing: Preprocessing) -> None:
    """Raise RequestError unless images stay small enough for memory before they are cropped."""
    largest, resize = MAX_RESIZE * max(preprocessing.crop), preprocessing.resize
    side = max(resize) if isinstance(resize, tuple) else resize
    if side > largest:
        (height, width), share = preprocessing.crop, min(preprocessing.crop) / largest
        message = f"Resizing to {side} pixels is out of proportion to the {height}x{width} that "
        fix = f"give --resize {largest} at most, or leave --resize out and give --crop a share of "
        fix += f"{share:.4f} or more."
        raise RequestError(message + "the model takes.", fix)
