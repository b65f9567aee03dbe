"""The samples of a proof as eager PyTorch takes them, and as the file takes them.

A file that preprocesses by itself takes pixels, images of any size. Eager PyTorch takes the same
images through Pillow.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vit_export.artifact.manifest import Manifest
from vit_export.core.numerics import Array
from vit_export.data.dataset import ImageDataset
from vit_export.data.images import Pixels, read_input, read_pixels
from vit_export.data.preprocessing import Preprocessing, preprocess
from vit_export.validation.samples import (
    FileInputs,
    check_recipes,
    choose_pixel_recipes,
    choose_recipes,
    draw_recipes,
    make_pixels,
    make_samples,
    to_pillow,
)

MOST_IMAGES = 8
"""Most images of the user's in a proof, which keeps every answer and runs each image repeatedly."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SampleSet:
    """M samples."""

    recipes: tuple[str, ...]
    inputs: Array
    """(M, C, H, W), or (M, …) of other samples, for eager PyTorch."""
    file_inputs: FileInputs
    """For the file: `inputs` themselves, or the pixels (H, W, C) behind them."""


def make_sample_set(
    sample_shape: tuple[int, ...],
    preprocessing: Preprocessing | None,
    images: ImageDataset | None,
    *,
    pixels: bool,
) -> SampleSet:
    """Return the samples that prove a new file, and some of the user's `images`.

    Args:
        sample_shape: shape of the model's input, without the batch.
        preprocessing: the model's own; without it noise replaces photographs.
        images: the user's dataset, if there is one.
        pixels: whether the file preprocesses by itself.

    Raises:
        RequestError: an image cannot be read.
    """
    extra = choose_images(images) if images is not None else {}
    if pixels and preprocessing is not None:
        recipes = choose_pixel_recipes(preprocessing)
        file_inputs = [make_pixels(recipe, preprocessing) for recipe in recipes]
        file_inputs += [read_pixels(path, preprocessing) for path in extra.values()]
        return _pair_with_inputs([*recipes, *extra], file_inputs, preprocessing)
    recipes = choose_recipes(preprocessing)
    inputs = make_samples(recipes, sample_shape, preprocessing)
    if images is not None:
        extra_inputs = [read_input(path, images.preprocessing) for path in extra.values()]
        inputs = np.concatenate([inputs, np.stack(extra_inputs)])
    return SampleSet(recipes=(*recipes, *extra), inputs=inputs, file_inputs=inputs)


def remake_sample_set(manifest: Manifest, drawn_from: int | None = None) -> SampleSet:
    """Return the samples of an existing file, made again from the recipes in its manifest.

    Some more are added that are drawn from the seed `drawn_from`, if there is one.

    Raises:
        RequestError: a recipe in the manifest makes no sample of this file.
    """
    recipes, preprocessing = manifest.reference.recipes, manifest.preprocessing
    if drawn_from is not None:
        recipes += tuple(draw_recipes(drawn_from, preprocessing, pixels=manifest.takes_pixels))
    if manifest.takes_pixels and preprocessing is not None:
        return make_image_sample_set(recipes, preprocessing, pixels=True)
    check_recipes(recipes, preprocessing, pixels=False)
    inputs = make_samples(recipes, manifest.signature.sample_shape, preprocessing)
    return SampleSet(recipes=recipes, inputs=inputs, file_inputs=inputs)


def make_image_sample_set(
    recipes: Sequence[str], preprocessing: Preprocessing, *, pixels: bool
) -> SampleSet:
    """Return samples that are all images, from recipes of pixels.

    `pixels` says whether the file takes them as they are, or normalized like eager PyTorch.

    Raises:
        RequestError: a recipe makes no image.
    """
    check_recipes(recipes, preprocessing, pixels=True)
    images = [make_pixels(recipe, preprocessing) for recipe in recipes]
    samples = _pair_with_inputs(recipes, images, preprocessing)
    return samples if pixels else replace(samples, file_inputs=samples.inputs)


def choose_images(images: ImageDataset) -> dict[str, Path]:
    """Return a few of `images` by their recipes, spread evenly over all of them."""
    count = min(MOST_IMAGES, len(images.paths))
    positions = [int(i) for i in np.linspace(0, len(images.paths) - 1, count).round()]
    return {f"image:{images.name(i)}": images.paths[i] for i in positions}


def _pair_with_inputs(
    recipes: Sequence[str], images: Sequence[Pixels], preprocessing: Preprocessing
) -> SampleSet:
    inputs = np.stack([preprocess(to_pillow(one), preprocessing) for one in images])
    return SampleSet(recipes=tuple(recipes), inputs=inputs, file_inputs=images)
