"""Shipped presets have the sizes of their tables; an error says what is wrong with a TOML file."""

import pytest
from support import VARIANTS, tiny_spec

from vit_export import RequestError
from vit_export.model.vit.presets import DEFAULT, list_presets, load_preset
from vit_export.model.vit.summary import count_parameters
from vit_export.model.vit.vit import Vit

# Published counts: Dosovitskiy et al. table 1 (86M, 307M, 632M), timm's exact numbers for the
# ViT of 224 pixels and 1000 classes, the seed document's table plus its 152,064.
PARAMETERS = {
    "einops_vit_base_patch16_224": 86_415_592 + 152_064,
    "einops_vit_small_patch16_224": 22_050_664,
    "einops_vit_tiny_patch16_224": 5_717_416,
    "vit_tiny_patch16_224": 5_717_416,
    "vit_small_patch16_224": 22_050_664,
    "vit_base_patch16_224": 86_567_656,
    "vit_large_patch16_224": 304_326_632,
    "vit_huge_patch14_224": 632_045_800,
    "dinov2_giant_patch14_518": 1_136_479_232,
    "fashion_mnist": 803_338,
}


def test_every_shipped_model_is_listed():
    assert set(list_presets()) == set(PARAMETERS)


@pytest.mark.parametrize(("name", "count"), PARAMETERS.items())
def test_parameters(name, count):
    preset = load_preset(name)
    assert count_parameters(preset.spec) == count
    assert preset.source


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_parameters_are_those_of_the_module(changes):
    spec = tiny_spec(**changes)
    assert count_parameters(spec) == sum(one.numel() for one in Vit(spec).parameters())


def test_the_default_is_the_seeds_model():
    spec = load_preset(DEFAULT).spec
    assert (spec.heads, spec.attention_scale, spec.qkv_layout) == (8, "width", "interleaved")
    assert (spec.pool, spec.norm_before_pool, spec.norm_after_pool) == ("mean", False, True)


def test_an_unknown_name_brings_the_closest():
    with pytest.raises(RequestError) as refusal:
        load_preset("vit_base_patch16_244")
    assert "Did you mean 'vit_base_patch16_224'?" in refusal.value.fix


VIT = "[vit]\nimage_size = 16\npatch_size = 8\nwidth = 24\nheads = 3\nclasses = 2\n"
TABLE = "[preprocessing]\nresize = 16\nmean = [0.5, 0.5, 0.5]\nstd = [0.5, 0.5, 0.5]\n"
BAD = {
    "not TOML": ("[vit", "is not TOML"),
    "no table": ("source = 'x'\n", "has no [vit] table"),
    "unknown table": ("[vti]\n", "unknown key 'vti'"),
    "unknown key": (VIT + "dept = 3\n", "unknown key 'dept'"),
    "patch": (VIT.replace("patch_size = 8", "patch_size = 7"), "patch_size 7 does not divide"),
    "unknown field": (VIT + TABLE + "means = [1]\n", "unknown key 'means'"),
    "missing field": (VIT + "[preprocessing]\nresize = 16\n", "missing"),
    "mean of one": (
        VIT + TABLE.replace("[0.5, 0.5, 0.5]", "[0.5]", 1),
        "mean has 1 values",
    ),
    "mean is a number": (
        VIT + TABLE.replace("[0.5, 0.5, 0.5]", "0.5", 1),
        "give mean as a list",
    ),
    "std of zero": (VIT + TABLE.replace("std = [0.5", "std = [0.0"), "not positive"),
    "crop of another size": (VIT + TABLE + "crop = [8, 8]\n", "make the two agree"),
    "small resize": (
        VIT + TABLE.replace("resize = 16", "resize = 8"),
        "less than the crop",
    ),
    "channels": (VIT + "channels = 1\n" + TABLE, "the model takes 1 of"),
    "no table but a word": (
        "preprocessing = 'imagenet'\n" + VIT,
        "preprocessing is 'imagenet'",
    ),
    "no such weights": ("weights = 'w.safetensors'\n" + VIT, "'w.safetensors', which is not there"),
    "weights are a number": ("weights = 1\n" + VIT, "names the file 1"),
    "labels too few": ("labels = 'labels.txt'\n" + VIT, "does not name 2 classes"),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD.keys())
def test_bad_toml(tmp_path, text, message):
    (tmp_path / "labels.txt").write_text("only one\n")
    path = tmp_path / "model.toml"
    path.write_text(text)
    with pytest.raises(RequestError) as refusal:
        load_preset(str(path))
    assert message in str(refusal.value)
    assert str(tmp_path) in refusal.value.message


def test_a_toml_file_of_the_user(tmp_path):
    path = tmp_path / "model.toml"
    path.write_text("labels = 'labels.txt'\n" + VIT + TABLE)
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    preset = load_preset(str(path))
    assert (preset.name, preset.labels) == ("model", ("cat", "dog"))
    assert preset.preprocessing.crop == (16, 16)


def test_missing_toml():
    with pytest.raises(RequestError, match=r"nowhere\.toml: No such file"):
        load_preset("nowhere.toml")
