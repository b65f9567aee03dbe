"""Samples are made again anywhere, bit for bit, and are what their recipes say."""

import numpy as np
import pytest
from PIL import Image
from support import tiny_spec

from vit_export import RequestError
from vit_export.presets import load_preset
from vit_export.samples import digest, image_samples, make_samples, recipes

PRESET = load_preset("einops_vit_tiny_patch16_224")


def test_with_preprocessing_there_are_photographs():
    names = recipes(PRESET.preprocessing)
    made = make_samples(names, PRESET.spec, PRESET.preprocessing)
    assert len(names) >= 8
    assert {name.partition(":")[0] for name in names} == {
        "photo",
        "normal",
        "constant",
        "saturated",
    }
    assert made.shape == (len(names), 3, 224, 224)
    assert made.dtype == np.float32
    assert len({digest(sample) for sample in made}) == len(names)


def test_without_preprocessing_there_are_as_many():
    assert len(recipes(None)) == len(recipes(PRESET.preprocessing))
    assert not any(name.startswith("photo") for name in recipes(None))


def test_normal_noise_is_normal():
    (noise,) = make_samples(["normal:3"], PRESET.spec, None)
    assert abs(noise.mean()) < 0.02
    assert abs(noise.std() - 1) < 0.02


def test_saturated_values_are_the_ends_of_the_range():
    (extreme,) = make_samples(["saturated:4"], PRESET.spec, PRESET.preprocessing)
    assert set(np.unique(extreme)) == {-1.0, 1.0}


# Written down once: a NumPy or Pillow that draws other numbers must be noticed, not believed.
DIGESTS = {
    "normal:1": "70b2752a5a31e344",
    "saturated:4": "b2aaa03c417a6357",
    "constant:0.25": "060e5ffaff9c0c0e",
}


@pytest.mark.parametrize(("recipe", "expected"), DIGESTS.items())
def test_the_same_bytes_everywhere(recipe, expected):
    (sample,) = make_samples([recipe], tiny_spec(), None)
    assert digest(sample).startswith(expected)


def test_an_unknown_recipe_is_a_bug():
    with pytest.raises(ValueError, match="unknown recipe"):
        make_samples(["sunset:1"], tiny_spec(), None)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "b").mkdir()
    for name in ("a.png", "b/c.jpg"):
        Image.new("RGB", (30, 30), "red").save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def test_images_of_a_folder(folder):
    names, made = image_samples(folder, PRESET.preprocessing)
    assert names == ["image:a.png", "image:c.jpg"]
    assert made.shape == (2, 3, 224, 224)


@pytest.mark.parametrize("name", ["nowhere", "b/empty"])
def test_a_folder_without_images(folder, name):
    (folder / "b" / "empty").mkdir()
    with pytest.raises(RequestError, match=name):
        image_samples(folder / name, PRESET.preprocessing)


def test_images_for_a_model_without_preprocessing(folder):
    with pytest.raises(RequestError, match="no preprocessing"):
        image_samples(folder, None)
