"""A model at another resolution is the one that its own library makes of it."""

from math import floor

import numpy as np
import pytest
import torch
import transformers
from foreign_names import as_dinov2, as_torchvision
from support import FASHION, SEED_STYLE, expect_error, run, run_json, tiny_spec
from timm_models import VisionTransformer, resample_abs_pos_embed

from vit_export.checkpoints.hints import CheckpointHints
from vit_export.checkpoints.load import load
from vit_export.checkpoints.overrides import ModelOverrides
from vit_export.model.vit.adapt import resize_positions
from vit_export.model.vit.state import random_vit

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
    actual = resize_positions(vit, size).embedding.positions
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


def test_all_other_weights_are_shared():
    vit = random_vit(SQUARE, 0)
    larger = resize_positions(vit, (64, 32))
    assert larger.head.classifier.weight.data_ptr() == vit.head.classifier.weight.data_ptr()
    assert larger.spec.image_size == (64, 32)
    assert vit.spec == SQUARE


def test_the_same_size_changes_nothing():
    vit = random_vit(SQUARE, 0)
    same = resize_positions(vit, (32, 32)).embedding.positions
    torch.testing.assert_close(same, vit.embedding.positions)


SIZES = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 3}
SIZES |= {"image_size": 32, "patch_size": 8, "attn_implementation": "eager"}
MLP = {"intermediate_size": 50}
TRANSFORMERS = {
    "ViT": (transformers.ViTForImageClassification, transformers.ViTConfig(**SIZES, **MLP)),
    "DeiT": (transformers.DeiTForImageClassification, transformers.DeiTConfig(**SIZES, **MLP)),
    "DINOv2": (transformers.Dinov2Model, transformers.Dinov2Config(**SIZES)),
    "DINOv2 with registers": (
        transformers.Dinov2WithRegistersModel,
        transformers.Dinov2WithRegistersConfig(**SIZES),
    ),
    "TIPSv2": (
        transformers.Tipsv2VisionModel,
        transformers.Tipsv2VisionConfig(**SIZES),
    ),
    "CLIP": (transformers.CLIPVisionModel, transformers.CLIPVisionConfig(**SIZES, **MLP)),
    "SigLIP": (transformers.SiglipVisionModel, transformers.SiglipVisionConfig(**SIZES, **MLP)),
}


@pytest.mark.parametrize("name", TRANSFORMERS)
@pytest.mark.parametrize("size", [(48, 40), (24, 16)])
@torch.no_grad()
def test_transformers_at_another_size(tmp_path, name, size):
    """Each family moves the positions as its own code does, of a folder and of a live module."""
    kind, config = TRANSFORMERS[name]
    torch.manual_seed(0)
    theirs = kind(config).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, mean=0.05, std=0.3)
    theirs.save_pretrained(tmp_path)
    images = torch.randn(2, 3, *size)
    options = {} if name.startswith(("DINOv2", "TIPSv2")) else {"interpolate_pos_encoding": True}
    answer = theirs(images, **options)
    expected = answer["logits"] if "logits" in answer else answer["pooler_output"]
    overrides = ModelOverrides(image_size=f"{size[0]}x{size[1]}")
    for loaded in load(weights=tmp_path, overrides=overrides), load(theirs, overrides=overrides):
        torch.testing.assert_close(loaded.vit(images), expected, rtol=1e-4, atol=2e-5)


def kernel(distance):
    """Cubic convolution as PyTorch documents it: that of Keys with a = -0.75."""
    a, x = -0.75, abs(distance)
    if x < 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0


def weights(count, places):
    """The weight of each of `count` patches at each of `places`; the border is repeated."""
    table = np.zeros((len(places), count))
    for row, place in enumerate(places):
        first = floor(place) - 1
        for patch in range(first, first + 4):
            table[row, min(max(patch, 0), count - 1)] += kernel(place - patch)
    return table


def dinov2_places(new, old):
    """dinov2/models/vision_transformer.py: the scale is (new + 0.1) / old; centres of patches."""
    return [(i + 0.5) * old / (new + 0.1) - 0.5 for i in range(new)]


def torchvision_places(new, old):
    """interpolate_embeddings of torchvision: `align_corners=True`, corner patches stay."""
    return [i * (old - 1) / (new - 1) for i in range(new)]


BY_HAND = {
    "DINOv2": (dinov2_places, as_dinov2, {"layer_scale": True, "positions": "no_registers"}),
    "torchvision": (torchvision_places, as_torchvision, {}),
}


@pytest.mark.parametrize("name", BY_HAND)
@pytest.mark.parametrize("size", [(48, 48), (24, 24), (40, 16), (88, 56)])
def test_families_without_a_library_at_another_size(tmp_path, name, size):
    """The test computes the sums in double precision; neither family antialiases."""
    places, rename, changes = BY_HAND[name]
    vit = random_vit(tiny_spec(image_size=(32, 32), **changes), 0)
    torch.save(rename(dict(vit.state_dict())), tmp_path / "w.pth")
    overrides = ModelOverrides(image_size=f"{size[0]}x{size[1]}")
    loaded = load(weights=tmp_path / "w.pth", hints=CheckpointHints(heads=3), overrides=overrides)
    positions = vit.embedding.positions.detach().double().numpy()
    rows, columns = (weights(4, places(side // 8, 4)) for side in size)
    grid = positions[1:].reshape(4, 4, -1)
    expected = np.einsum("io,jp,opd->ijd", rows, columns, grid).reshape(-1, grid.shape[-1])
    actual = loaded.vit.embedding.positions.numpy()
    np.testing.assert_array_equal(actual[:1], positions[:1].astype(np.float32))
    np.testing.assert_allclose(actual[1:], expected, atol=1e-5)


@torch.no_grad()
def test_a_timm_module_in_memory_at_another_size():
    """timm has a method that does the same: `set_input_size`."""
    torch.manual_seed(0)
    model = VisionTransformer(
        img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=3, num_classes=5
    ).eval()
    loaded = load(model, overrides=ModelOverrides(image_size="48x40"))
    model.set_input_size((48, 40))
    images = torch.randn(2, 3, 48, 40)
    torch.testing.assert_close(loaded.vit(images), model(images), rtol=1e-4, atol=1e-5)


def test_another_size_from_end_to_end(tmp_path):
    """It is exported at another size, proven there, and validated from the original weights."""
    out = tmp_path / "f.onnx"
    report = run_json(
        "onnx", "--model", "fashion_mnist", "--image-size", "36x44", "--out", out, "-q"
    )
    assert report["verdict"]["status"] == "PROVEN"
    weights = FASHION / "fashion_mnist.safetensors"
    assert run_json("validate", out, "--weights", weights, "-q")["status"] == "PROVEN"
    (prediction,) = run_json("predict", out, FASHION / "images" / "trouser_1.png")
    assert prediction["classes"][0] == "Trouser"


def test_a_size_that_no_patch_divides(tmp_path):
    arguments = ("--model", "fashion_mnist", "--image-size", "30", "--out", tmp_path / "f.onnx")
    assert "patch_size 4 does not divide the image of 30x30" in expect_error(
        "onnx", *arguments, "-q", exit_code=2
    )


def test_a_model_with_the_seeds_conventions(tmp_path):
    run("summary", "--model", "fashion_mnist", "--image-size", "56", cwd=tmp_path)
    vit = resize_positions(random_vit(tiny_spec(image_size=(16, 16), **SEED_STYLE), 0), (32, 16))
    assert vit(torch.zeros(1, 3, 32, 16)).shape == (1, 5)
