"""Samples are made again anywhere, bit for bit, and are what their recipes say."""

import numpy as np
import pytest
from PIL import Image
from support import tiny_spec

from vit_export import RequestError
from vit_export.core.progress import silent
from vit_export.data.annotations import read_annotations
from vit_export.data.dataset import open_dataset
from vit_export.model.vit.presets import load_preset
from vit_export.validation.samples import digest, image_samples, make_samples, recipes

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


def images_of(folder, preprocessing=PRESET.preprocessing):
    features = tiny_spec(classes=None)
    return open_dataset(
        read_annotations(folder, None),
        preprocessing,
        answer=features.answer,
        classes=features.classes,
        names=(),
        progress=silent,
    )


def test_images_of_a_folder(folder):
    names, made = image_samples(images_of(folder / "b"))
    assert names == ["image:c.jpg"]
    assert made.shape == (1, 3, 224, 224)


def test_of_many_images_a_few_take_part(tmp_path):
    for i in range(50):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{i:02}.png")
    names, made = image_samples(images_of(tmp_path))
    assert names == [f"image:{i:02}.png" for i in (0, 7, 14, 21, 28, 35, 42, 49)]
    assert len(made) == 8


@pytest.mark.parametrize("name", ["nowhere", "b/empty", "notes.txt"])
def test_a_folder_without_images(folder, name):
    (folder / "b" / "empty").mkdir()
    with pytest.raises(RequestError, match=f"{name} holds no images"):
        images_of(folder / name)


def test_images_for_a_model_without_preprocessing(folder):
    with pytest.raises(RequestError, match="no preprocessing"):
        images_of(folder, None)
