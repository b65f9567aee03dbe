"""Overrides of a model: its answer, its labels, its preprocessing."""

import json

import numpy as np
import pytest
import torch
import transformers
from support import FASHION, SEED_STYLE, expect_error, run, run_json, tiny_spec

from vit_export import RequestError
from vit_export.backends.open import open_artifact, read_manifest
from vit_export.checkpoints.load import load
from vit_export.checkpoints.overrides import ModelOverrides, PreprocessingOverrides
from vit_export.model.vit.adapt import change_outputs
from vit_export.model.vit.state import random_vit
from vit_export.model.vit.vit import Vit

SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3}
SIZES |= {"image_size": 16, "patch_size": 8, "intermediate_size": 96}


@pytest.fixture
def folder(tmp_path):
    """A classifier of `transformers`: its folder and the module."""
    torch.manual_seed(0)
    config = transformers.ViTConfig(**SIZES, num_labels=5)
    model = transformers.ViTForImageClassification(config).eval()
    model.save_pretrained(tmp_path / "vit")
    return tmp_path / "vit", model


@torch.no_grad()
@pytest.mark.parametrize("target", ["onnx", "torchscript"])
def test_all_tokens_of_a_classifier(tmp_path, folder, target):
    """They are those of `transformers` after its final norm; `validate` proves them again."""
    path, model = folder
    out = tmp_path / "tokens"
    report = run_json(target, "--weights", path, "--outputs", "tokens", "--out", out, "-q")
    assert {one["top1"] for one in report["verdict"]["against_eager"]} == {None}
    session = open_artifact(out)
    images = torch.randn(3, 3, 16, 16)
    expected = model.vit(images).last_hidden_state
    np.testing.assert_allclose(session.run(images.numpy()), expected, rtol=1e-4, atol=2e-5)
    manifest = read_manifest(session, out)
    assert (manifest.spec.answer, manifest.labels) == ("tokens", ())
    again = run_json("validate", out, "--weights", path, "-q")
    assert again["status"] == "PROVEN"
    assert "it answers tokens" in expect_error(
        "predict", out, FASHION / "images/bag_1.png", exit_code=2
    )


@torch.no_grad()
def test_features_of_a_classifier(folder):
    path, model = folder
    loaded = load(weights=path, overrides=ModelOverrides(outputs=("features",), image_size="24"))
    images = torch.randn(2, 3, 24, 24)
    expected = model.vit(images, interpolate_pos_encoding=True).last_hidden_state[:, 0]
    torch.testing.assert_close(loaded.vit(images), expected, rtol=1e-4, atol=2e-5)
    assert loaded.provenance.overrides["trained"]["classes"] == 5
    assert loaded.provenance.overrides["trained"]["image_size"] == (16, 16)


@torch.no_grad()
@pytest.mark.parametrize("changes", [{}, SEED_STYLE, {"distillation_token": True}])
def test_tokens_are_the_input_of_the_pool(changes):
    vit = random_vit(tiny_spec(**changes), 0)
    inputs = []
    vit.head.norm.register_forward_hook(lambda _, __, tokens: inputs.append(tokens))
    images = torch.randn(2, 3, 16, 24)
    vit(images)
    assert torch.equal(change_outputs(vit, ["tokens"])(images), inputs[0])
    assert change_outputs(vit, ["logits"]) is vit


@pytest.mark.parametrize(
    ("changes", "outputs"),
    [
        ({"classes": None}, "logits"),
        ({"classes": None, "pool": "none"}, "features"),
        ({}, "attention"),
    ],
)
def test_answers_that_the_model_does_not_have(changes, outputs):
    with pytest.raises(RequestError, match=f"has no output '{outputs}'"):
        change_outputs(random_vit(tiny_spec(**changes), 0), [outputs])


def test_labels_and_preprocessing_of_the_command_line(tmp_path, folder):
    path, _ = folder
    names = ["ant", "bee", "cat", "dog", "elk"]
    (tmp_path / "names.txt").write_text("\n".join(names) + "\n")
    steps = ["--mean", "0.1,0.2,0.3", "--std", "0.5", "--crop", "0.8", "--interpolation", "bicubic"]
    out = tmp_path / "f.onnx"
    labels = ["--labels", tmp_path / "names.txt"]
    run("onnx", "--weights", path, *labels, *steps, "--out", out, "-q")
    (prediction,) = run_json("predict", out, FASHION / "images" / "bag_1.png")
    assert set(prediction["classes"]) == set(names)
    fields = run_json("inspect", out)["preprocessing"]
    assert (fields["mean"], fields["std"]) == ([0.1, 0.2, 0.3], [0.5] * 3)
    assert (fields["resize"], fields["crop"], fields["interpolation"]) == (20, [16, 16], "bicubic")


OPTIONS = {"mean": "0.5", "std": "0.25", "resize": "20", "crop": None, "interpolation": None}


def parse(**changes):
    return PreprocessingOverrides.parse(**OPTIONS | changes)


def test_preprocessing_for_a_model_that_came_without():
    overrides = ModelOverrides(preprocessing=parse(resize="30x40"))
    preprocessing = load(Vit(tiny_spec(channels=1)).eval(), overrides=overrides).preprocessing
    assert preprocessing.mode == "L"
    assert (preprocessing.resize, preprocessing.crop) == ((30, 40), (16, 24))
    assert (preprocessing.mean, preprocessing.std) == ((0.5,), (0.25,))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mean": "a,b"}, "mean is 'a,b'"),
        ({"mean": "0.5,0.5"}, "mean has 2 values"),
        ({"std": "-1"}, "not positive"),
        ({"resize": "big"}, "'big' is no image size"),
        ({"resize": None}, "came without preprocessing"),
        ({"crop": "0.9"}, "sets the resize already"),
        ({"crop": "32"}, "images of 16x24, not of 32x32"),
        ({"crop": "-1"}, "'-1' is no crop"),
        ({"crop": "1.5"}, "'1.5' is no crop"),
        ({"crop": "0.0"}, "'0.0' is no crop"),
        ({"crop": "nan"}, "'nan' is no crop"),
        ({"crop": "half"}, "'half' is no crop"),
        ({"crop": 224.0}, "'224.0' is no crop"),
        ({"crop": "1"}, "images of 16x24, not of 1x1"),
        ({"resize": "99999"}, "Resizing to 99999 pixels is out of proportion to the 16x24"),
        ({"resize": "24x99999"}, "Resizing to 99999 pixels"),
        ({"crop": "0.01", "resize": None}, "Resizing to 1600 pixels"),
        ({"crop": f"0.{'0' * 320}1", "resize": None}, "is no crop"),
        ({"mean": "nan"}, "mean holds a value that is not finite"),
        ({"std": "inf"}, "std holds a value that is not finite"),
        ({"std": "nan,1,1"}, "std holds a value that is not finite"),
        ({"resize": "20x20"}, "leaves less than the crop"),
    ],
)
def test_preprocessing_that_makes_no_sense(changes, message):
    with pytest.raises(RequestError) as refusal:
        load(Vit(tiny_spec()), overrides=ModelOverrides(preprocessing=parse(**changes)))
    assert message in refusal.value.message


@pytest.mark.parametrize(
    ("crop", "resize"), [("1.0", 24), (1.0, 24), ("0.5", 32), (".5", 32), ("1.", 24)]
)
def test_a_crop_with_a_decimal_point_is_a_share(crop, resize):
    overrides = ModelOverrides(preprocessing=parse(crop=crop, resize=None))
    preprocessing = load(Vit(tiny_spec()), overrides=overrides).preprocessing
    assert (preprocessing.resize, preprocessing.crop) == (resize, (16, 24))


@pytest.mark.parametrize("crop", ["16x24", None])
def test_a_crop_in_pixels(crop):
    overrides = ModelOverrides(preprocessing=parse(crop=crop, resize="30"))
    preprocessing = load(Vit(tiny_spec()), overrides=overrides).preprocessing
    assert (preprocessing.resize, preprocessing.crop) == (30, (16, 24))


def test_a_resize_from_the_folder_is_bounded_too(folder):
    path, _ = folder
    size = {"shortest_edge": 10**9}
    processor = transformers.CLIPImageProcessorPil(size=size, crop_size={"height": 16, "width": 16})
    processor.save_pretrained(path)
    with pytest.raises(RequestError, match="Resizing to 1000000000 pixels"):
        load(weights=path)


def test_labels_of_a_model_without_classes(tmp_path):
    (tmp_path / "names.txt").write_text("ant")
    with pytest.raises(RequestError, match="no classes to label"):
        load(Vit(tiny_spec(classes=None)), overrides=ModelOverrides(labels=tmp_path / "names.txt"))


def test_a_bad_request_is_refused_before_the_work(tmp_path):
    out = tmp_path / "f.onnx"
    message = expect_error("onnx", "--mean", "x", "--out", out, exit_code=2)
    assert "give numbers: --mean 0.5,0.5,0.5" in message
    assert json.loads(run("onnx", "--crop", "big", "--out", out, "--json", exit_code=2).stdout)
