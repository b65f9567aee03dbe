"""What a proof feeds a file, beside what eager PyTorch is given of the same samples.

A file that preprocesses by itself takes levels of images of any size. Its samples are made of
recipes too: `photo:cat` as it ships, `noise:7:37x53` and `extremes:7:37x53` drawn from seed 7 (of
all levels, of the lowest and highest), `flat:64:37x53` of one level. Eager PyTorch gets them
through Pillow.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vit_export.artifact.manifest import Manifest
from vit_export.core.numerics import Array
from vit_export.data.dataset import ImageDataset
from vit_export.data.images import Pixels, read_pixels
from vit_export.data.preprocessing import Preprocessing, preprocess
from vit_export.model.vit.spec import VitSpec
from vit_export.validation.samples import (
    PHOTOS,
    image_samples,
    make_samples,
    photo,
    recipes,
    spread,
)

if TYPE_CHECKING:
    from PIL.Image import Image

Inputs = Sequence[npt.NDArray[Any]] | npt.NDArray[Any]
"""Images, one after the other."""


@dataclass(frozen=True, eq=False)
class Fed:
    """Samples, M of them."""

    recipes: tuple[str, ...]
    inputs: Array
    """(M, C, h, w), for eager PyTorch."""
    fed: Inputs
    """For the file: the same, or levels (H, W, C), each of a size of its own."""


def samples_for(
    spec: VitSpec, steps: Preprocessing | None, images: ImageDataset | None, *, levels: bool
) -> Fed:
    """The samples that prove a file, and some of the user's images."""
    if levels and steps is not None:
        names = levels_recipes(steps)
        chosen = spread(images) if images is not None else {}
        made = [make_levels(name, steps) for name in names]
        made += [read_pixels(path, steps) for path in chosen.values()]
        return Fed((*names, *chosen), _through_pillow(made, steps), made)
    names = recipes(steps)
    inputs = make_samples(names, spec, steps)
    if images is not None:
        more, extra = image_samples(images)
        names, inputs = [*names, *more], np.concatenate([inputs, extra])
    return Fed(tuple(names), inputs, inputs)


def samples_again(manifest: Manifest) -> Fed:
    """The samples of a manifest."""
    names, steps = manifest.reference.recipes, manifest.preprocessing
    if manifest.takes_pixels and steps is not None:
        return samples_of(names, steps, levels=True)
    inputs = make_samples(names, manifest.require_spec(), steps)
    return Fed(names, inputs, inputs)


def samples_of(names: Sequence[str], steps: Preprocessing, *, levels: bool) -> Fed:
    """Samples of images' recipes, for a file that takes levels, or what Pillow makes of them."""
    made = [make_levels(name, steps) for name in names]
    inputs = _through_pillow(made, steps)
    return Fed(tuple(names), inputs, made if levels else inputs)


def levels_recipes(steps: Preprocessing) -> list[str]:
    """Nine recipes: as large as the model's input, smaller and larger, odd, wide and tall."""
    height, width = steps.crop
    same, small = f"{height}x{width}", f"{2 * height // 3 | 1}x{4 * width // 5 | 1}"
    tall = f"{3 * height | 1}x{5 * width // 4 | 1}"
    photos = [f"photo:{name}" for name in PHOTOS]
    noise = [f"noise:1:{small}", f"noise:2:{small}", f"noise:3:{small}", f"noise:4:{tall}"]
    return [*photos, *noise, f"extremes:5:{same}", f"flat:64:{small}"]


def make_levels(recipe: str, steps: Preprocessing) -> Pixels:
    """The image of one recipe, (H, W, C)."""
    kind, argument, *size = recipe.split(":")
    if kind == "photo":
        return read_pixels(photo(argument), steps)
    height, width = (int(side) for side in size[0].split("x"))
    shape = (height, width, len(steps.mean))
    # RandomState, not Generator: NumPy promises that its stream never changes (NEP 19).
    random = np.random.RandomState(int(argument))
    if kind == "noise":
        return random.randint(0, 256, shape, np.uint8)
    if kind == "extremes":
        return random.randint(0, 2, shape, np.uint8) * np.uint8(255)
    if kind == "flat":
        return np.full(shape, int(argument), np.uint8)
    raise ValueError(f"unknown recipe {recipe!r}")


def as_picture(levels: Pixels) -> "Image":
    """Levels (H, W, C) as Pillow has them."""
    from PIL import Image

    return Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels)


def _through_pillow(images: Sequence[Pixels], steps: Preprocessing) -> Array:
    return np.stack([preprocess(as_picture(one), steps) for one in images])
