"""The inputs of a proof, each made from a short recipe, so that any machine can make them again.

A recipe is words separated by colons. `photo:cat` is a photograph that ships with the package.

Normalized inputs (C, H, W): `photo:cat` and `crop:7`, a part of a photograph drawn from seed 7,
through the model's own preprocessing; `normal:7` and `saturated:7`, drawn from seed 7;
`constant:0.25`, flat.

Pixels (H, W, C), for files that preprocess by themselves: `photo:cat` and `crop:7` as they are;
`noise:7:37x53` and `extremes:7:37x53`, of that height and width, drawn from seed 7 among all values
or among the lowest and the highest; `flat:64:37x53`, of one value.
"""

import hashlib
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vit_export.core.errors import RequestError
from vit_export.core.numerics import Array
from vit_export.data.images import Pixels, read_input, read_pixels
from vit_export.data.preprocessing import Preprocessing, preprocess

if TYPE_CHECKING:  # a device that has no photograph to read has no need of Pillow
    from PIL.Image import Image

FileInputs = Sequence[npt.NDArray[Any]] | npt.NDArray[Any]
"""One array per sample: normalized (C, H, W), or pixels (H, W, C) of several sizes."""

PHOTOS = ("astronaut", "cat", "coffee")
PHOTO = f"photo:(?:{'|'.join(PHOTOS)})"
SEED = "(?:[0-9]{1,9}|[1-3][0-9]{9})"
"""RandomState takes less than 2**32."""
SIZE = "([1-9][0-9]{0,4})x([1-9][0-9]{0,4})"
RECIPE = re.compile(
    rf"{PHOTO}|(?:crop|normal|saturated):{SEED}|constant:-?[0-9](?:\.[0-9]{{1,9}})?"
)
PIXEL_RECIPE = re.compile(
    rf"{PHOTO}|crop:{SEED}|(?:noise|extremes):{SEED}:{SIZE}|"
    rf"flat:(?:[0-9]{{1,2}}|1[0-9]{{2}}|2[0-4][0-9]|25[0-5]):{SIZE}"
)
MAX_SIDES = 16
"""Longest side of an image of pixels as a multiple of the crop's."""


def choose_recipes(preprocessing: Preprocessing | None) -> list[str]:
    """Return eight recipes of normalized inputs; without `preprocessing` noise replaces photos."""
    photos = [f"photo:{name}" for name in PHOTOS]
    noise = [f"normal:{seed}" for seed in (11, 12, 13)]
    first = photos if _reads_files(preprocessing) else noise
    return [*first, "normal:1", "normal:2", "normal:3", "constant:0.25", "saturated:4"]


def _reads_files(preprocessing: Preprocessing | None) -> bool:
    """Return whether a model takes what image files hold, so that photos are samples of it."""
    return preprocessing is not None and preprocessing.reads_files


def choose_pixel_recipes(preprocessing: Preprocessing) -> list[str]:
    """Return nine recipes of pixels: of the input size, smaller, larger, odd, wide and tall."""
    height, width = preprocessing.crop
    same, small = f"{height}x{width}", f"{2 * height // 3 | 1}x{4 * width // 5 | 1}"
    tall = f"{3 * height | 1}x{5 * width // 4 | 1}"
    photos = [f"photo:{name}" for name in PHOTOS]
    noise = [f"noise:1:{small}", f"noise:2:{small}", f"noise:3:{small}", f"noise:4:{tall}"]
    return [*photos, *noise, f"extremes:5:{same}", f"flat:64:{small}"]


def draw_recipes(seed: int, preprocessing: Preprocessing | None, *, pixels: bool) -> list[str]:
    """Return four recipes that nobody knows before `seed` is drawn.

    `pixels` says whether the file preprocesses by itself.
    """
    first, second, third, fourth = np.random.RandomState(seed).randint(0, 2**31, 4, np.int64)
    if pixels and preprocessing is not None:
        size = "x".join(map(str, preprocessing.crop))
        noise = [f"noise:{third}:{size}", f"extremes:{fourth}:{size}"]
    else:
        noise = [f"normal:{third}", f"saturated:{fourth}"]
    kind = "crop" if _reads_files(preprocessing) else "normal"
    return [f"{kind}:{first}", f"{kind}:{second}", *noise]


def check_recipes(
    recipes: Sequence[str], preprocessing: Preprocessing | None, *, pixels: bool
) -> None:
    """Raise RequestError unless every recipe makes a sample of a file.

    `pixels` says whether the file preprocesses by itself. The sides of images are limited, because
    anybody may have written the recipes.
    """
    longest = MAX_SIDES * max(preprocessing.crop) if preprocessing else 0
    for i, recipe in enumerate(recipes):
        match = (PIXEL_RECIPE if pixels else RECIPE).fullmatch(recipe)
        needs_steps = recipe.startswith(("photo:", "crop:"))
        sides = [int(side) for side in match.groups() if side] if match else []
        if (
            not match
            or (needs_steps and not _reads_files(preprocessing))
            or max(sides, default=0) > longest
        ):
            message = (
                f"reference.recipes[{i}] is {recipe[:60]!r}, which makes no sample of the file."
            )
            raise RequestError(message, "export the model again.")


def make_samples(
    recipes: Sequence[str],
    sample_shape: tuple[int, ...],
    preprocessing: Preprocessing | None,
) -> Array:
    """Return the normalized inputs of `recipes`, (M, *sample_shape)."""
    return np.stack([_make_sample(recipe, sample_shape, preprocessing) for recipe in recipes])


def make_pixels(recipe: str, preprocessing: Preprocessing) -> Pixels:
    """Return the pixels (H, W, C) of one recipe, with the channels that `preprocessing` takes."""
    kind, argument, *size = recipe.split(":")
    if kind == "photo":
        return read_pixels(find_photo(argument), preprocessing)
    if kind == "crop":
        return _crop_photo(argument, preprocessing)
    height, width = (int(side) for side in size[0].split("x"))
    shape = (height, width, len(preprocessing.mean))
    random = _random_stream(argument)
    if kind == "noise":
        return random.randint(0, 256, shape, np.uint8)
    if kind == "extremes":
        return random.randint(0, 2, shape, np.uint8) * np.uint8(255)
    if kind == "flat":
        return np.full(shape, int(argument), np.uint8)
    raise ValueError(f"unknown recipe {recipe!r}")


def find_photo(name: str) -> Path:
    """Return the path of one of `PHOTOS`."""
    return Path(str(files("vit_export.data"))) / "photos" / f"{name}.png"


def to_pillow(pixels: Pixels) -> "Image":
    """Return pixels (H, W, C) as a Pillow image."""
    from PIL import Image

    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def digest(sample: npt.NDArray[Any]) -> str:
    """Return the SHA-256 of one input's little-endian fp32 bytes, in hex."""
    return hashlib.sha256(sample.astype("<f4").tobytes()).hexdigest()


def find_identical(samples: FileInputs, digests: Sequence[str]) -> list[int]:
    """Return the positions of the `samples` that have the same `digests` as before.

    Another Pillow or another CPU may make a sample differently; no proof is possible on that one.
    """
    return [i for i, sample in enumerate(samples) if digest(sample) == digests[i]]


def _make_sample(recipe: str, shape: tuple[int, ...], preprocessing: Preprocessing | None) -> Array:
    kind, _, argument = recipe.partition(":")
    if kind == "photo" and preprocessing:
        return read_input(find_photo(argument), preprocessing)
    if kind == "crop" and preprocessing:
        return preprocess(to_pillow(_crop_photo(argument, preprocessing)), preprocessing)
    if kind == "constant":
        return np.full(shape, float(argument), np.float32)
    random = _random_stream(argument)
    if kind == "normal":
        # The sum of twelve uniform integers is nearly normal and has the same bits on every CPU;
        # a library's logarithm, which other methods need, has not.
        uniform = random.randint(0, 2**16, (12, *shape), dtype=np.uint16)
        centred: npt.NDArray[np.int32] = uniform.sum(axis=0, dtype=np.int32) - 6 * (2**16 - 1)
        return centred.astype(np.float32) / np.float32(2**16)
    if kind == "saturated":  # each value at one end of what normalized pixels reach
        low, high = _range(preprocessing)
        return np.where(random.randint(0, 2, shape), high, low).astype(np.float32)
    raise ValueError(f"unknown recipe {recipe!r}")


def _crop_photo(seed: str, preprocessing: Preprocessing) -> Pixels:
    """Return a random part of a random photograph, at least half as high and half as wide."""
    random = _random_stream(seed)
    photo = read_pixels(find_photo(PHOTOS[random.randint(len(PHOTOS))]), preprocessing)
    rows, columns = (_choose_part(side, random) for side in photo.shape[:2])
    return np.ascontiguousarray(photo[rows, columns])


def _choose_part(side: int, random: np.random.RandomState) -> slice:
    length = random.randint(side // 2, side + 1)
    start = random.randint(side - length + 1)
    return slice(start, start + length)


def _random_stream(seed: str) -> np.random.RandomState:
    """Return a RandomState: NumPy promises that its stream, unlike a Generator's, never changes.

    See NEP 19.
    """
    return np.random.RandomState(int(seed))


def _range(preprocessing: Preprocessing | None) -> tuple[Array, Array]:
    """Return the least and the largest normalized value of each channel, (C, 1, 1).

    Without `preprocessing` they are single numbers.
    """
    if preprocessing is None:
        return np.array(-2, np.float32), np.array(2, np.float32)
    mean = np.array(preprocessing.mean, np.float32)[:, None, None]
    std = np.array(preprocessing.std, np.float32)[:, None, None]
    return -mean / std, (1 - mean) / std
