"""What timm's config.json tells, against timm itself: `save_for_hf` writes, its factory answers."""

import json

import pytest
import timm_models
import torch
from torch import nn

from vit_export import RequestError
from vit_export.loading import load_source
from vit_export.vit.families import timm_config

PLAIN = ("Block", "LayerNorm")
ARCHITECTURES = ["vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224"]


@torch.no_grad()
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_folder_of_timm_needs_no_option(tmp_path, name):
    torch.manual_seed(0)
    model = timm_models.create_model(name, num_classes=3, depth=1).eval()
    labels = {"label_names": ["n1", "n2", "n3"], "label_descriptions": {"n1": "ant"}}
    timm_models.save_for_hf(model, tmp_path, model_config=labels, safe_serialization=True)
    source = load_source(weights=tmp_path)
    images = torch.randn(2, 3, 224, 224)
    torch.testing.assert_close(source.vit(images), model(images), rtol=1e-4, atol=1e-5)
    assert source.labels == ("ant", "n2", "n3")
    told = model.pretrained_cfg
    assert source.preprocessing.mean == told["mean"]
    assert source.preprocessing.resize == int(224 / told["crop_pct"])


def test_arguments_overrule_the_architecture():
    config = {"architecture": "vit_tiny_patch16_224", "global_pool": "token"}
    config["model_args"] = {"num_heads": 6, "act_layer": "quick_gelu", "global_pool": "avg"}
    expected = {"heads": 6, "mlp": "quick_gelu", "pool": "patch_mean"}
    assert timm_config.facts(config) == expected


@pytest.mark.slow
def test_heads_and_activation_of_every_architecture():
    """Of all that timm builds from plain blocks; of the others nothing may be claimed wrongly."""
    seen = 0
    for name in timm_models.list_models(module=["vision_transformer", "deit"]):
        with torch.device("meta"):
            model = timm_models.create_model(name)
        block = model.blocks[0]
        if (type(block).__name__, type(getattr(block, "norm1", None)).__name__) != PLAIN:
            continue
        told = timm_config.facts({"architecture": name, "global_pool": model.global_pool})
        heads = told.get("heads", {}).get(model.embed_dim)
        if heads is None:  # a name outside the table
            assert not name.startswith(("vit_", "deit")), name
            continue
        seen += 1
        assert heads == block.attn.num_heads, name
        if not isinstance(block.mlp.act, nn.SiLU):  # SwiGLU shows in the tensors
            activation = {"GELUTanh": "gelu_tanh", "QuickGELU": "quick_gelu", "GELU": "gelu"}
            assert told["mlp"] == activation[type(block.mlp.act).__name__], name
        assert told["pool"] == {"avg": "patch_mean"}.get(model.global_pool, model.global_pool)
    assert seen > 100


STEPS = {"input_size": [3, 16, 16], "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4]}


@pytest.mark.parametrize(("mode", "resize"), [("center", 17), ("squash", (17, 17))])
def test_preprocessing_of_a_config(mode, resize):
    """As timm/data/transforms_factory.py: 17 is the floor of 16 / 0.9."""
    told = STEPS | {"crop_pct": 0.9, "crop_mode": mode, "interpolation": "bicubic"}
    assert timm_config.preprocessing({"pretrained_cfg": told}) == {
        "mode": "RGB",
        "resize": resize,
        "crop": (16, 16),
        "interpolation": "bicubic",
        "mean": STEPS["mean"],
        "std": STEPS["std"],
    }


@pytest.mark.parametrize("changes", [{"crop_mode": "border"}, {"input_size": [3, 16, 24]}])
def test_preprocessing_that_is_not_built(changes):
    with pytest.raises(RequestError, match="is not built yet"):
        timm_config.preprocessing({"pretrained_cfg": STEPS | changes})


def test_a_config_without_preprocessing():
    assert timm_config.preprocessing({"architecture": "vit_tiny_patch16_224"}) is None


def test_a_config_that_makes_no_sense(tmp_path):
    model = timm_models.create_model("vit_tiny_patch16_224", num_classes=3, depth=1)
    timm_models.save_for_hf(model, tmp_path, safe_serialization=True)
    config = json.loads((tmp_path / "config.json").read_text())
    for changes in ({"model_args": 3}, {"pretrained_cfg": "x"}, {"label_names": ["ant"]}):
        (tmp_path / "config.json").write_text(json.dumps(config | changes))
        with pytest.raises(RequestError, match="can't be understood"):
            load_source(weights=tmp_path)
