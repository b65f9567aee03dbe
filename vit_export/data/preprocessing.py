"""From an image file of any size and mode to the numbers a model was trained on.

`Preprocessing` says what is done, and travels inside every artifact; `load_image` and
`preprocess` do it, with Pillow and NumPy alone, so that a device needs nothing else.
"""

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import numpy.typing as npt

from vit_export.core.dataclass_checks import check_names, check_types
from vit_export.core.errors import RequestError

if TYPE_CHECKING:
    from PIL.Image import Image

Mode = Literal["L", "RGB"]
Centre = Literal["round", "floor"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]

LONGEST = 100
"""The longer side over the shorter: beyond, a thin image would be resized to a huge one."""


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Resize, crop the centre, scale to 0..1, normalize. Sizes are (height, width) in pixels."""

    mode: Mode = "RGB"
    resize: int | tuple[int, int]
    """The shorter side, keeping the aspect ratio, or both sides outright."""
    crop: tuple[int, int]
    """What the model takes; cut from the centre."""
    centre: Centre = "round"
    """Where half a pixel goes: torchvision rounds it to even, `transformers` down."""
    interpolation: Interpolation = "bicubic"
    mean: tuple[float, ...]
    std: tuple[float, ...]
    """Per channel, of values already scaled to 0..1."""

    def __post_init__(self) -> None:
        check_types(self)
        channels = 1 if self.mode == "L" else 3
        for name in ("mean", "std"):
            if len(getattr(self, name)) != channels:
                message = f"{name} has {len(getattr(self, name))} values for mode {self.mode}."
                raise RequestError(message, f"give {channels}, one per channel.")
            if not np.isfinite(getattr(self, name)).all():
                message = f"{name} holds a value that is not finite."
                raise RequestError(message, "give the numbers that the model was trained with.")
        if min(self.std) <= 0:
            raise RequestError("std holds a value that is not positive.", "give positive ones.")
        resize = (self.resize,) if isinstance(self.resize, int) else self.resize
        if min(*resize, *self.crop) <= 0:
            message = f"resize {self.resize} and crop {self.crop} are no sizes."
            raise RequestError(message, "give positive ones.")
        if self._covers() is False:
            message = f"resize {self.resize} leaves less than the crop of {self.crop}."
            raise RequestError(message, "resize to at least the crop.")

    def _covers(self) -> bool:
        if isinstance(self.resize, int):
            return self.resize >= max(self.crop)
        return all(side >= cut for side, cut in zip(self.resize, self.crop, strict=True))

    def at(self, size: tuple[int, int]) -> Self:
        """The same preprocessing for a model that takes images of `size`."""
        if isinstance(self.resize, int):
            ratio = self.resize / min(self.crop)
            return replace(self, crop=size, resize=max(round(min(size) * ratio), *size))
        height, width = (
            round(new * side / old)
            for new, side, old in zip(size, self.resize, self.crop, strict=True)
        )
        return replace(self, crop=size, resize=(height, width))

    def to_mapping(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str) -> Self:
        """The preprocessing with the given fields; `where` names their origin in errors."""
        check_names(values, cls, where)
        lists: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        try:
            return cls(**lists)
        except TypeError as error:
            reason = str(error).rpartition("() ")[2]
            raise RequestError(
                f"{where}: {reason}.", "give every value that has no default."
            ) from None
        except RequestError as error:
            raise RequestError(f"{where}: {error.message}", error.fix) from None


def load_image(path: Path, mode: Mode) -> "Image":
    """The picture in `mode`, upright, 8 bits a channel.

    EXIF orientation is applied, transparency dropped, palettes resolved; 16-bit grey is scaled
    to 8 bits (Pillow's own conversion clips it). Grey of 32 bits with no value above 255 holds 8
    bits, and is taken as they are.

    Raises:
        RequestError: no such file, not an image, cut off, or a decompression bomb.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(path)
        with image:
            return _to_mode(ImageOps.exif_transpose(image), mode)
    except FileNotFoundError:
        raise RequestError(f"{path}: no such image.", "check the path.") from None
    except IsADirectoryError:
        raise RequestError(f"{path} is a folder.", "name image files.") from None
    except UnidentifiedImageError:
        raise RequestError(f"{path} is not an image.", "give a file that Pillow opens.") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        limit = f"{Image.MAX_IMAGE_PIXELS:,}"
        raise RequestError(
            f"{path} has more than {limit} pixels (a decompression bomb?).",
            "shrink the image first.",
        ) from None
    except (OSError, SyntaxError, ValueError) as error:
        raise RequestError(f"{path} can't be decoded: {error}.", "save the image again.") from None


def _to_mode(image: "Image", mode: Mode) -> "Image":
    from PIL import Image

    if image.mode.startswith("I"):  # 16 bits in I;16 and, from PGM and TIFF files, in I
        grey = np.asarray(image, np.float64).clip(0, 65535)
        depth = 1 if image.mode == "I" and grey.max() <= 255 else 257  # noqa: PLR2004 of 8 bits
        image = Image.fromarray((grey / depth).round().astype(np.uint8))
    elif image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    elif image.mode == "F":
        raise ValueError("floating-point pixels have no agreed range")
    return image.convert(mode)


def preprocess(image: "Image", steps: Preprocessing) -> npt.NDArray[np.float32]:
    """The model's input for one image, (C, H, W).

    Sizes follow torchvision's Resize and CenterCrop.

    Raises:
        RequestError: the image is so elongated that resizing it would fill the memory.
    """
    from PIL.Image import Resampling

    height, width = resized_sides(image.height, image.width, steps)
    resized = image.resize((width, height), Resampling[steps.interpolation.upper()])
    whole = round if steps.centre == "round" else int
    top, left = whole((height - steps.crop[0]) / 2), whole((width - steps.crop[1]) / 2)
    box = (left, top, left + steps.crop[1], top + steps.crop[0])
    pixels = np.asarray(resized.crop(box), np.float32) / np.float32(255)
    pixels = pixels.reshape(*steps.crop, len(steps.mean))  # (H, W, C)
    mean, std = np.array(steps.mean, np.float32), np.array(steps.std, np.float32)
    return np.ascontiguousarray(((pixels - mean) / std).transpose(2, 0, 1))


def resized_sides(height: int, width: int, steps: Preprocessing) -> tuple[int, int]:
    """Height and width after resizing: of an integer, the shorter side becomes that.

    Raises:
        RequestError: the image is so elongated that resizing it would fill the memory.
    """
    if not isinstance(steps.resize, int):
        return steps.resize
    shorter = min(height, width)
    if max(height, width) > LONGEST * shorter:
        message = f"an image of {width}x{height} is too elongated."
        raise RequestError(message, f"crop it to at most {LONGEST}:1.")
    return steps.resize * height // shorter, steps.resize * width // shorter
