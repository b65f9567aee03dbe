"""A model at another resolution is the one that timm makes of it, and is proven there."""

import pytest
import torch
from support import FASHION, SEED_STYLE, refused, run, run_json, tiny_spec
from timm_models import VisionTransformer, resample_abs_pos_embed

from vit_export.loading import load_source
from vit_export.vit.resample import POSITIONS, fitted, resized
from vit_export.vit.weights import random_vit

SQUARE = tiny_spec(image_size=(32, 32))
PREFIXES = {
    "class token": {},
    "distilled": {"distillation_token": True},
    "registers": {"register_tokens": 3},
    "registers without positions": {"register_tokens": 3, "positions": "no_registers"},
    "patch positions": {"positions": "patches"},
    "no prefix": {"class_token": False, "pool": "mean"},
}


@pytest.mark.parametrize("changes", PREFIXES.values(), ids=PREFIXES.keys())
@pytest.mark.parametrize("size", [(48, 48), (16, 16), (40, 64), (32, 24)])
def test_positions_are_those_of_timm(changes, size):
    spec = tiny_spec(image_size=(32, 32), **changes)
    vit = random_vit(spec, 0)
    expected = resample_abs_pos_embed(
        vit.embedding.positions[None],
        new_size=[size[0] // 8, size[1] // 8],
        num_prefix_tokens=spec.positioned_prefix,
    )[0]
    found = resized(vit, size).embedding.positions
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_all_else_is_shared():
    vit = random_vit(SQUARE, 0)
    larger = resized(vit, (64, 32))
    assert larger.head.classifier.weight.data_ptr() == vit.head.classifier.weight.data_ptr()
    assert larger.spec.image_size == (64, 32)
    assert vit.spec == SQUARE


def test_the_same_size_changes_nothing():
    state = random_vit(SQUARE, 0).state_dict()
    torch.testing.assert_close(fitted(state, SQUARE, SQUARE)[POSITIONS], state[POSITIONS])


@torch.no_grad()
def test_a_live_timm_model_at_another_size():
    """timm does the same to itself: `set_input_size`."""
    torch.manual_seed(0)
    model = VisionTransformer(
        img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=3, num_classes=5
    ).eval()
    source = load_source(model, image_size="48x40")
    model.set_input_size((48, 40))
    images = torch.randn(2, 3, 48, 40)
    torch.testing.assert_close(source.vit(images), model(images), rtol=1e-4, atol=1e-5)


def test_another_size_from_end_to_end(tmp_path):
    """Exported larger, proven there, validated afresh from the original weights."""
    out = tmp_path / "f.onnx"
    told = run_json("onnx", "--model", "fashion_mnist", "--image-size", "36x44", "--out", out, "-q")
    assert told["verdict"]["status"] == "PROVEN"
    weights = FASHION / "fashion_mnist.safetensors"
    assert run_json("validate", out, "--weights", weights, "-q")["status"] == "PROVEN"
    (found,) = run_json("predict", out, FASHION / "images" / "trouser_1.png")
    assert found["classes"][0] == "Trouser"


def test_a_size_that_no_patch_divides(tmp_path):
    arguments = ("--model", "fashion_mnist", "--image-size", "30", "--out", tmp_path / "f.onnx")
    assert "patch_size 4 does not divide the image of 30x30" in refused(
        "onnx", *arguments, "-q", exit_code=2
    )


def test_seeds_conventions_survive(tmp_path):
    run("summary", "--model", "fashion_mnist", "--image-size", "56", cwd=tmp_path)
    vit = resized(random_vit(tiny_spec(image_size=(16, 16), **SEED_STYLE), 0), (32, 16))
    assert vit(torch.zeros(1, 3, 32, 16)).shape == (1, 5)
