"""Relative position bias: BEiT and data2vec answer like timm and transformers, in every file."""

from collections import Counter

import onnx
import pytest
import timm_models
import torch
import transformers
from support import mark_slow_except
from varied_modules import vary

import vit_export
from vit_export import RequestError, VitSpec
from vit_export.checkpoints.load import load

SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "num_labels": 4}
SIZES |= {"intermediate_size": 48, "image_size": 32, "patch_size": 8}
CONFIGS = {
    "a table for each block": {"use_relative_position_bias": True},
    "one table for all": {"use_shared_relative_position_bias": True},
    "class token": {"use_relative_position_bias": True, "use_mean_pooling": False},
    "learned positions too": {
        "use_relative_position_bias": True,
        "use_absolute_position_embeddings": True,
    },
    "no layer scale": {"use_relative_position_bias": True, "layer_scale_init_value": 0.0},
}
SIZE = {"depth": 3, "embed_dim": 24, "num_heads": 3, "img_size": 32, "patch_size": 8}
IMAGES = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def beit(tmp_path_factory):
    """A bare file of timm's BEiT, and its module."""
    module = vary(timm_models.create_model("beit_base_patch16_224", num_classes=4, **SIZE))
    path = tmp_path_factory.mktemp("beit") / "w.pth"
    torch.save(module.state_dict(), path)
    return path, module


@torch.no_grad()
@pytest.mark.parametrize("kind", ["Beit", "Data2VecVision"])
@pytest.mark.parametrize("settings", CONFIGS)
def test_a_folder_of_transformers_answers_as_its_class(tmp_path, kind, settings):
    config = getattr(transformers, f"{kind}Config")(**SIZES, **CONFIGS[settings])
    module = vary(getattr(transformers, f"{kind}ForImageClassification")(config))
    module.save_pretrained(tmp_path)
    loaded = load(weights=tmp_path, check="require")
    assert loaded.spec.relative_bias
    torch.testing.assert_close(loaded.vit(IMAGES), module(IMAGES).logits, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_bare_file_shows_heads_and_grid(beit):
    path, module = beit
    loaded = load(weights=path)
    assert (loaded.spec.heads, loaded.spec.image_size) == (3, (32, 32))
    assert "heads" not in loaded.assumed
    torch.testing.assert_close(loaded.vit(IMAGES), module(IMAGES), rtol=1e-4, atol=1e-5)


BUILDS = {
    "fp32": {},
    "class token": {"pool": "token"},
    "onnxruntime": {"flavour": "onnxruntime"},
    "fp16": {"precision": "fp16"},
    "int8": {"precision": "int8", "include": ("attention",)},
}


@pytest.mark.parametrize("build", mark_slow_except(BUILDS, "onnxruntime"))
def test_every_file_is_proven_with_it(tmp_path, beit, build):
    out = tmp_path / "f.onnx"
    result = vit_export.onnx(None, out, weights=beit[0], **BUILDS[build])
    assert result.verdict.status == "PROVEN"
    operators = Counter(node.op_type for node in onnx.load(out).graph.node)
    fused = {"onnxruntime": "MultiHeadAttention"}.get(build, "Softmax")
    assert operators[fused] == SIZE["depth"]


def test_another_size_is_refused(tmp_path, beit):
    with pytest.raises(RequestError, match="those of 32x32 images") as refusal:
        vit_export.onnx(None, tmp_path / "f.onnx", weights=beit[0], image_size="48")
    assert "--image-size" in refusal.value.fix


def test_two_tables_for_one_block_are_refused(tmp_path, beit):
    state = torch.load(beit[0])
    table = state["blocks.0.attn.relative_position_bias_table"]
    torch.save(state | {"rel_pos_bias.relative_position_bias_table": table}, tmp_path / "w.pth")
    with pytest.raises(RequestError, match="a table for all blocks and one of its own"):
        load(weights=tmp_path / "w.pth")


def test_it_needs_a_class_token():
    with pytest.raises(RequestError, match="needs a class token"):
        VitSpec(relative_bias=True, class_token=False, pool="mean")


def test_a_config_without_any_positions_is_a_model_without_them(tmp_path):
    module = vary(transformers.BeitForImageClassification(transformers.BeitConfig(**SIZES)))
    module.save_pretrained(tmp_path)
    loaded = load(weights=tmp_path, check="require")
    assert (loaded.spec.positions, loaded.spec.relative_bias) == ("none", False)


def test_a_grid_that_is_not_square_is_refused(tmp_path):
    """transformers takes rows for columns there, and resamples the table."""
    sizes = SIZES | {"image_size": [16, 24], "use_relative_position_bias": True}
    vary(transformers.BeitModel(transformers.BeitConfig(**sizes))).save_pretrained(tmp_path)
    with pytest.raises(RequestError, match="images that are not square"):
        load(weights=tmp_path)
