"""Samples can be made again anywhere, bit for bit, and are what their recipes say."""

import numpy as np
import pytest
from PIL import Image

from vit_export import RequestError
from vit_export.core.progress import silent
from vit_export.data.annotations import read_annotations
from vit_export.data.dataset import open_dataset
from vit_export.model.vit.presets import load_preset
from vit_export.validation.sample_set import choose_images, make_image_sample_set, make_sample_set
from vit_export.validation.samples import (
    choose_pixel_recipes,
    choose_recipes,
    digest,
    find_identical,
    make_pixels,
    make_samples,
)

PREPROCESSING = load_preset("einops_vit_tiny_patch16_224").preprocessing
SHAPE = (3, 224, 224)
TINY_SHAPE = (3, 16, 24)


def test_with_preprocessing_photographs_take_part():
    recipes = choose_recipes(PREPROCESSING)
    samples = make_samples(recipes, SHAPE, PREPROCESSING)
    assert len(recipes) >= 8
    kinds = {recipe.partition(":")[0] for recipe in recipes}
    assert kinds == {"photo", "normal", "constant", "saturated"}
    assert samples.shape == (len(recipes), *SHAPE)
    assert samples.dtype == np.float32
    assert len({digest(sample) for sample in samples}) == len(recipes)


def test_without_preprocessing_noise_replaces_photographs():
    recipes = choose_recipes(None)
    assert len(recipes) == len(choose_recipes(PREPROCESSING))
    assert not any(recipe.startswith("photo") for recipe in recipes)


def test_normal_noise_is_normal():
    (noise,) = make_samples(["normal:3"], SHAPE, None)
    assert abs(noise.mean()) < 0.02
    assert abs(noise.std() - 1) < 0.02


def test_saturated_values_are_the_ends_of_the_range():
    (saturated,) = make_samples(["saturated:4"], SHAPE, PREPROCESSING)
    assert set(np.unique(saturated)) == {-1.0, 1.0}


# Constants: a NumPy that draws other numbers has to be noticed, not believed.
DIGESTS = {
    "normal:1": "70b2752a5a31e344",
    "saturated:4": "b2aaa03c417a6357",
    "constant:0.25": "060e5ffaff9c0c0e",
}


@pytest.mark.parametrize(("recipe", "expected"), DIGESTS.items())
def test_every_machine_makes_the_same_bytes(recipe, expected):
    (sample,) = make_samples([recipe], TINY_SHAPE, None)
    assert digest(sample).startswith(expected)


def test_a_sample_that_came_out_differently_is_found():
    samples = make_samples(choose_recipes(None), TINY_SHAPE, None)
    digests = [digest(sample) for sample in samples]
    samples[2].flat[7] += np.float32(1e-6)
    assert find_identical(samples, digests) == [0, 1, 3, 4, 5, 6, 7]


def test_an_unknown_recipe_is_a_bug():
    with pytest.raises(ValueError, match="unknown recipe 'sunset:1'"):
        make_samples(["sunset:1"], TINY_SHAPE, None)
    with pytest.raises(ValueError, match="unknown recipe 'sunset:1:4x5'"):
        make_pixels("sunset:1:4x5", PREPROCESSING)


@pytest.mark.parametrize(
    "recipe", ["sunset:1:4x5", "photo:../cat", "noise:1:9999x9999", "image:a.png", "normal:1"]
)
def test_a_recipe_of_a_stranger_makes_no_image(recipe):
    """`cpp` takes the recipes in a manifest."""
    with pytest.raises(RequestError, match=r"reference\.recipes\[1\] is"):
        make_image_sample_set(["photo:cat", recipe], PREPROCESSING, pixels=True)


# Pixels


def test_pixels_are_of_several_sizes_and_the_model_sees_them_through_pillow():
    recipes = choose_pixel_recipes(PREPROCESSING)
    samples = make_image_sample_set(recipes, PREPROCESSING, pixels=True)
    assert len(recipes) >= 8
    assert samples.inputs.shape == (len(recipes), *SHAPE)
    assert {one.dtype for one in samples.file_inputs} == {np.dtype(np.uint8)}
    assert len({one.shape for one in samples.file_inputs}) > 3
    assert all(one.shape[-1] == 3 for one in samples.file_inputs)


def test_pixels_are_what_their_recipes_say():
    flat, extremes, noise = (
        make_pixels(recipe, PREPROCESSING)
        for recipe in ("flat:64:5x9", "extremes:5:5x9", "noise:1:50x90")
    )
    assert flat.shape == (5, 9, 3)
    assert set(np.unique(flat)) == {64}
    assert set(np.unique(extremes)) == {0, 255}
    assert len(np.unique(noise)) == 256


# The user's images


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "b").mkdir()
    for name in ("a.png", "b/c.jpg"):
        Image.new("RGB", (30, 30), "red").save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def open_images(folder, preprocessing=PREPROCESSING):
    return open_dataset(
        read_annotations(folder, None),
        preprocessing,
        answer="features",
        classes=None,
        names=(),
        progress=silent,
    )


@pytest.mark.parametrize("pixels", [False, True])
def test_images_of_the_user_join_the_samples_that_ship(folder, pixels):
    without = make_sample_set(SHAPE, PREPROCESSING, None, pixels=pixels)
    samples = make_sample_set(SHAPE, PREPROCESSING, open_images(folder / "b"), pixels=pixels)
    assert samples.recipes == (*without.recipes, "image:c.jpg")
    assert samples.inputs.shape == (len(samples.recipes), *SHAPE)
    np.testing.assert_array_equal(samples.inputs[:-1], without.inputs)
    assert samples.file_inputs[-1].shape == ((30, 30, 3) if pixels else SHAPE)


def test_a_few_of_many_images_take_part(tmp_path):
    for i in range(50):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{i:02}.png")
    chosen = choose_images(open_images(tmp_path))
    assert list(chosen) == [f"image:{i:02}.png" for i in (0, 7, 14, 21, 28, 35, 42, 49)]
    assert list(chosen.values())[1] == tmp_path / "07.png"


@pytest.mark.parametrize("name", ["nowhere", "b/empty", "notes.txt"])
def test_a_folder_without_images_is_refused(folder, name):
    (folder / "b" / "empty").mkdir()
    with pytest.raises(RequestError, match=f"{name} holds no images"):
        open_images(folder / name)


def test_images_for_a_model_without_preprocessing_are_refused(folder):
    with pytest.raises(RequestError, match="no preprocessing"):
        open_images(folder, None)
