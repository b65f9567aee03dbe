"""The inputs a proof runs on, made from short recipes, so that they can be made again anywhere.

A recipe is a word and an argument: `photo:cat` is a photograph that ships, through the model's own
preprocessing; `normal:7` and `saturated:7` are drawn from seed 7; `constant:0.25` is flat.
"""

import hashlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vit_export.core.numerics import Array
from vit_export.data.dataset import ImageDataset
from vit_export.data.images import read_input
from vit_export.data.preprocessing import Preprocessing
from vit_export.model.vit.spec import VitSpec

PHOTOS = ("astronaut", "cat", "coffee")
MOST_IMAGES = 8
"""Of the user's: a proof keeps every answer in memory, and runs each image several times."""


def recipes(preprocessing: Preprocessing | None) -> list[str]:
    """Eight recipes: photographs where the model says how to read them, noise where not."""
    photos = [f"photo:{name}" for name in PHOTOS]
    seeded = photos if preprocessing else [f"normal:{seed}" for seed in (11, 12, 13)]
    return [*seeded, "normal:1", "normal:2", "normal:3", "constant:0.25", "saturated:4"]


def make_samples(
    recipes: Sequence[str], spec: VitSpec, preprocessing: Preprocessing | None
) -> Array:
    """The inputs of `recipes`, (M, C, H, W)."""
    return np.stack([_make(recipe, spec, preprocessing) for recipe in recipes])


def image_samples(images: ImageDataset) -> tuple[list[str], Array]:
    """Recipes and inputs of a few of `images`, spread evenly over all of them.

    Raises:
        RequestError: one can't be read.
    """
    chosen = spread(images)
    inputs = [read_input(path, images.preprocessing) for path in chosen.values()]
    return list(chosen), np.stack(inputs)


def spread(images: ImageDataset) -> dict[str, Path]:
    """A few of `images` by their recipes, spread evenly over all of them."""
    count = min(MOST_IMAGES, len(images.paths))
    chosen = [int(i) for i in np.linspace(0, len(images.paths) - 1, count).round()]
    return {f"image:{images.name(i)}": images.paths[i] for i in chosen}


def photo(name: str) -> Path:
    """One of `PHOTOS` as a file."""
    return Path(str(files("vit_export.data"))) / "photos" / f"{name}.png"


def _make(recipe: str, spec: VitSpec, preprocessing: Preprocessing | None) -> Array:
    kind, _, argument = recipe.partition(":")
    shape = (spec.channels, *spec.image_size)
    if kind == "photo" and preprocessing:
        return read_input(photo(argument), preprocessing)
    if kind == "constant":
        return np.full(shape, float(argument), np.float32)
    # RandomState, not Generator: NumPy promises that its stream never changes (NEP 19).
    random = np.random.RandomState(int(argument))
    if kind == "normal":
        # The sum of twelve uniform integers is normal enough, and the same bits on every CPU;
        # a library's logarithm, which other ways need, is not.
        uniform = random.randint(0, 2**16, (12, *shape), dtype=np.uint16)
        centred: npt.NDArray[np.int32] = uniform.sum(axis=0, dtype=np.int32) - 6 * (2**16 - 1)
        return centred.astype(np.float32) / np.float32(2**16)
    if kind == "saturated":  # each value at one end of what normalized pixels reach
        low, high = _range(preprocessing)
        return np.where(random.randint(0, 2, shape), high, low).astype(np.float32)
    raise ValueError(f"unknown recipe {recipe!r}")


def _range(preprocessing: Preprocessing | None) -> tuple[Array, Array]:
    if preprocessing is None:
        return np.full((1, 1, 1), -2, np.float32), np.full((1, 1, 1), 2, np.float32)
    mean = np.array(preprocessing.mean, np.float32)[:, None, None]
    std = np.array(preprocessing.std, np.float32)[:, None, None]
    return -mean / std, (1 - mean) / std


def digest(sample: npt.NDArray[Any]) -> str:
    """SHA-256 of one input's little-endian bytes: tells whether it was made again exactly."""
    return hashlib.sha256(sample.astype("<f4").tobytes()).hexdigest()
