"""`inspect` names what a file holds by its content, and what its export still needs."""

import pytest
import torch
from foreign_names import as_openai
from safetensors.torch import save_file
from support import FASHION, expect_error, run, run_json, tiny_spec
from timm_models import VisionTransformer
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

from vit_export import inspect, summary
from vit_export.model.vit.state import random_vit


@pytest.fixture
def timm_state():
    sizes = {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}
    return VisionTransformer(**sizes, num_classes=5).state_dict()


def test_a_folder_of_hugging_face(tmp_path):
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3}
    sizes |= {"image_size": 16, "patch_size": 8, "intermediate_size": 96}
    labels = dict(enumerate("abc"))
    ViTForImageClassification(ViTConfig(**sizes, id2label=labels)).save_pretrained(tmp_path)
    ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(tmp_path)
    report = run_json("inspect", tmp_path)
    assert (report["kind"], report["family"]) == ("checkpoint", "Hugging Face ViT")
    assert (report["spec"]["heads"], report["labels"], report["missing"]) == (3, 3, [])
    assert report["preprocessing"]["resize"] == [16, 16]
    text = run("inspect", tmp_path).stdout
    assert "Hugging Face ViT" in text
    assert "patch_size" in text


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_an_incomplete_checkpoint_says_what_is_missing(tmp_path, timm_state, name):
    path = tmp_path / name
    save_file(timm_state, path) if name.endswith("safetensors") else torch.save(timm_state, path)
    report = run_json("inspect", path)
    assert report["family"] == "timm vision_transformer"
    assert report["parameters"] == sum(tensor.numel() for tensor in timm_state.values())
    assert report["spec"] is None
    assert "--heads N" in report["missing"][0]
    assert "missing:" in run("inspect", path).stdout


def test_options_complete_a_checkpoint(tmp_path, timm_state):
    path = tmp_path / "w.pth"
    torch.save(timm_state, path)
    report = run_json("inspect", path, "--heads", "3", "--norm-eps", "1e-3")
    assert (report["missing"], report["spec"]["heads"], report["spec"]["norm_eps"]) == ([], 3, 1e-3)
    assert inspect(path, heads=3).spec["depth"] == 2
    assert report["preprocessing_note"] == "assumed, the default of timm vision_transformer"
    assert report["preprocessing_note"] in run("inspect", path, "--heads", "3").stdout
    report = run_json("inspect", path, "--heads", "5")
    assert "5 heads do not divide" in report["missing"][0]
    report = run_json("inspect", FASHION / "fashion_mnist.safetensors", "--model", "fashion_mnist")
    assert (report["missing"], report["spec"]["classes"]) == ([], 10)


def test_an_artifact_takes_no_hints(fashion_file):
    assert "name it alone" in expect_error("inspect", fashion_file, "--heads", "3", exit_code=2)


def test_the_summary_of_a_checkpoint(tmp_path, timm_state):
    path = tmp_path / "w.pth"
    torch.save(timm_state, path)
    report = run_json("summary", "--weights", path, "--heads", "3")
    assert (report["model"], report["parameters"]) == (
        "w",
        sum(t.numel() for t in timm_state.values()),
    )
    assert "don't show heads" in expect_error("summary", "--weights", path, exit_code=2)
    assert "no checkpoint for --heads" in expect_error("summary", "--heads", "3", exit_code=2)


def test_the_summary_of_another_image_size(tmp_path):
    sizes = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 3}
    ViTForImageClassification(ViTConfig(**sizes, image_size=16, patch_size=8)).save_pretrained(
        tmp_path
    )
    trained, larger = summary(weights=tmp_path), summary(weights=tmp_path, image_size="32")
    assert larger.token_parameters == trained.token_parameters + 12 * 24


def test_unused_tensors_are_listed_with_their_reason(tmp_path):
    vit = random_vit(tiny_spec(classes=None, projection=7, norm_before_blocks=True), 0)
    text = {f"transformer.resblocks.{i}.ln_1.bias": torch.zeros(3) for i in range(9)}
    torch.save(as_openai(vit.state_dict()) | text, tmp_path / "clip.pt")
    shown = ("--heads", "3", "--trained-size", "16x24")
    hints = [*shown, "--activation", "quick_gelu", "--pool", "token"]
    lines = run("inspect", tmp_path / "clip.pt", *hints).stdout.splitlines()
    (unused,) = [line for line in lines if line.startswith("unused:")]
    assert "ln_1.bias, … (9): it belongs to the text tower" in unused


def test_an_artifact(fashion_file):
    report = run_json("inspect", fashion_file)
    assert report["kind"] == "artifact"
    assert "fp32, batch dynamic" in report["family"]
    assert (report["parameters"], report["labels"]) == (803_338, 10)


def test_our_own_weights_need_their_preset():
    report = run_json("inspect", FASHION / "fashion_mnist.safetensors")
    assert "--model NAME" in report["missing"][0]


@pytest.mark.parametrize("content", [None, b"", b"text", b"PK\x03\x04"])
def test_a_file_that_is_neither(tmp_path, content):
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)
    assert str(path) in expect_error("inspect", path, exit_code=2)


@pytest.mark.parametrize("name", ["vit.engine", "vit.onnx"])
def test_a_file_that_only_has_the_name_of_an_artifact(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"no artifact")
    assert f"{path} is no ONNX, TorchScript or TensorRT" in expect_error(
        "inspect", path, exit_code=2
    )
