"""Models of one, two, four and more channels: exported, with the mean and std of each."""

import json

import pytest
import timm_models
import torch
from support import FASHION, expect_error, run, run_json

from vit_export.backends.open import open_artifact, read_manifest
from vit_export.checkpoints.hints import CheckpointHints
from vit_export.checkpoints.load import load

SIZES = {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 3}
SIZES |= {"num_classes": 5}


def save_folder(folder, channels):
    """As timm writes it: a mean and a std for every channel."""
    torch.manual_seed(0)
    arguments = {**SIZES, "in_chans": channels}
    model = timm_models.create_model("vit_tiny_patch16_224", **arguments).eval()
    timm_models.save_for_hf(model, folder, model_args=arguments, safe_serialization=True)
    return model


@torch.no_grad()
@pytest.mark.parametrize("channels", [1, 2, 4, 7])
def test_a_folder_of_timm_keeps_mean_and_std(tmp_path, channels):
    model = save_folder(tmp_path, channels)
    written = json.loads((tmp_path / "config.json").read_text())["pretrained_cfg"]
    loaded = load(weights=tmp_path)
    assert loaded.preprocessing.mean == tuple(written["mean"])
    assert len(loaded.preprocessing.std) == channels
    assert loaded.preprocessing.reads_files == (channels == 1)
    images = torch.randn(2, channels, 16, 16)
    torch.testing.assert_close(loaded.vit(images), model(images), rtol=1e-4, atol=1e-5)


def test_four_channels_are_exported_and_images_are_refused(tmp_path):
    save_folder(tmp_path / "m", 4)
    out = tmp_path / "m.onnx"
    run("onnx", "--weights", tmp_path / "m", "--out", out, "-q")
    assert read_manifest(open_artifact(out), out).preprocessing.mode == "channels"
    assert run_json("validate", out, "-q")["status"] == "PROVEN"
    photo = FASHION / "images" / "bag_1.png"
    assert "4 channels, which no image file holds" in expect_error(
        "predict", out, photo, exit_code=2
    )
    request = ["--weights", tmp_path / "m", "--out", tmp_path / "o.onnx"]
    for more in (("--images", photo.parent), ("--preprocess", "graph")):
        assert "no image file holds" in expect_error("onnx", *request, *more, exit_code=2)


@pytest.mark.parametrize("mean", ["0.5", "0.1,0.2,0.3,0.4"])
def test_the_options_that_a_fix_names_are_accepted(tmp_path, mean):
    model = timm_models.create_model("vit_tiny_patch16_224", **SIZES, in_chans=4)
    torch.save(model.state_dict(), tmp_path / "w.pth")
    assert load(weights=tmp_path / "w.pth", hints=CheckpointHints(heads=3)).preprocessing is None
    out = tmp_path / "w.onnx"
    steps = ("--mean", mean, "--std", "0.5", "--resize", "16")
    run("onnx", "--weights", tmp_path / "w.pth", "--heads", "3", *steps, "--out", out, "-q")
    values = [float(one) for one in mean.split(",")]
    expected = tuple(values * (4 if len(values) == 1 else 1))
    assert read_manifest(open_artifact(out), out).preprocessing.mean == expected
