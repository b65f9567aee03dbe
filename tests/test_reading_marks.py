"""Models that published ones with the same tensors do not answer like: asked for, or said."""

import pytest
import timm_models
import torch
from foreign_names import as_torchvision
from support import tiny_spec
from torch import nn

from vit_export import RequestError
from vit_export.checkpoints.hints import CheckpointHints
from vit_export.checkpoints.load import load
from vit_export.model.vit.state import random_vit

SIZES = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}
SIZES |= {"num_classes": 5}


def build_timm(**changes):
    torch.manual_seed(0)
    model = timm_models.create_model("vit_tiny_patch16_224", **SIZES | changes).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, 0.05, 0.3)
    return model


def save(folder, state):
    torch.save(state, folder / "w.pth")
    return folder / "w.pth"


@torch.no_grad()
def assert_reads(path, model, size=(32, 32), **hints):
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    loaded = load(weights=path, hints=CheckpointHints(heads=3, **hints))
    torch.testing.assert_close(loaded.vit(images), model(images), rtol=1e-4, atol=2e-5)
    return loaded


def refuse(path, **hints):
    with pytest.raises(RequestError) as refusal:
        load(weights=path, hints=CheckpointHints(heads=3, **hints))
    return refusal.value


def test_norms_behind_the_branches_look_like_norms_before_them(tmp_path):
    """timm's rpn has the tensors of a plain model without class token and biases of qkv."""
    rpn = timm_models.create_model("vit_base_patch16_rpn_224", depth=1, img_size=32, num_classes=5)
    path = save(tmp_path, rpn.state_dict())
    assert "behind them (vit_base_patch16_rpn_224)" in refuse(path).message
    named = refuse(path, arch="timm:vit_base_patch16_rpn_224")
    assert "norms behind attention and MLP" in named.message
    plain = build_timm(qkv_bias=False, class_token=False, global_pool="avg")
    path = save(tmp_path, plain.state_dict())
    assert "timm.models.save_for_hf" in refuse(path).fix
    arguments = SIZES | {"qkv_bias": False, "class_token": False, "global_pool": "avg"}
    timm_models.save_for_hf(
        plain, tmp_path / "folder", model_args=arguments, safe_serialization=True
    )
    assert_reads(tmp_path / "folder", plain)


def test_siglip_without_its_probe_may_have_either_gelu(tmp_path):
    for layer, name in (("gelu", "gelu"), ("gelu_tanh", "gelu_tanh")):
        model = build_timm(class_token=False, global_pool="avg", fc_norm=False, act_layer=layer)
        path = save(tmp_path, model.state_dict())
        assert "--activation gelu|gelu_tanh" in refuse(path).fix
        assert_reads(path, model, activation=name)


@pytest.mark.parametrize("size", [(24, 40), (32, 64)])
def test_images_that_are_not_square_are_never_taken_for_square_ones(tmp_path, size):
    """3 * 5 patches and a class token make 16 positions, a square number."""
    model = build_timm(img_size=size)
    path = save(tmp_path, model.state_dict())
    assert refuse(path).fix == "give --trained-size HxW."
    loaded = assert_reads(path, model, size, trained_size="x".join(map(str, size)))
    assert "trained_size" not in loaded.assumed


@pytest.mark.parametrize("changes", [{}, {"init_values": 0.1, "no_embed_class": True}])
def test_square_images_need_no_size(tmp_path, changes):
    size = 112 if changes else 32
    model = build_timm(img_size=size, **changes)
    assert_reads(save(tmp_path, model.state_dict()), model, (size, size))


TORCHVISION = random_vit(tiny_spec(image_size=(16, 16)), 0).eval()


@pytest.mark.parametrize("layer", ["heads", "heads.0", "heads.1"])
def test_a_replaced_classifier_is_read_and_what_stands_behind_it_is_assumed(tmp_path, layer):
    """As the tutorials do: `heads = Linear(...)` or `Sequential(Dropout, Linear)`."""
    state = as_torchvision(TORCHVISION.state_dict())
    renamed = {name.replace("heads.head", layer): tensor for name, tensor in state.items()}
    path = save(tmp_path, renamed)
    loaded = assert_reads(path, TORCHVISION, (16, 16))
    assert loaded.assumed["classifier"] == layer
    assert "classifier" not in assert_reads(path, TORCHVISION, (16, 16), head_from=layer).assumed


def test_a_classifier_of_several_layers_is_refused_in_words(tmp_path):
    state = as_torchvision(TORCHVISION.state_dict())
    state |= {
        "heads.pre_logits.weight": torch.ones(24, 24),
        "heads.pre_logits.bias": torch.ones(24),
    }
    refusal = refuse(save(tmp_path, state))
    assert "heads is not one linear layer" in refusal.message
    assert "--outputs features" in refusal.fix
    model = build_timm()
    model.head = nn.Sequential(nn.BatchNorm1d(24, affine=False), nn.Linear(24, 5))  # MAE's probe
    assert "head is not one linear layer" in refuse(save(tmp_path, model.state_dict())).message
    model.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(24, 5))
    assert_reads(save(tmp_path, model.state_dict()), model.eval())


def test_a_pool_that_no_tensor_shows_is_said(tmp_path):
    model = build_timm(global_pool="avg", fc_norm=False)
    path = save(tmp_path, model.state_dict())
    assert load(weights=path, hints=CheckpointHints(heads=3)).assumed["pool"] == "token"
    assert "pool" not in assert_reads(path, model, pool="patch_mean").assumed
