"""Models of kinds that are not supported are refused with the kind, bare and as a folder."""

import pytest
import timm_models
import torch

from vit_export import RequestError
from vit_export.checkpoints.hints import CheckpointHints
from vit_export.checkpoints.load import load

KINDS = {
    "vit_relpos_small_patch16_224": "relative positions",
    "vit_small_patch16_18x2_224": "parallel blocks",
    "vit_dwee_patch16_reg1_gap_256": "differential attention",
    "vit_tiny_r_s16_p8_224": "a convolutional stem",
    "test_vit4": "RmsNorm",
    "cait_xxs24_224": "CaiT",
}


def make_state(name):
    """Names and shapes of an architecture with one block, if its code allows that."""
    with torch.device("meta"):
        try:
            model = timm_models.create_model(name, depth=1)
        except (AssertionError, TypeError):
            model = timm_models.create_model(name)
    shapes = {key: tensor.shape for key, tensor in model.state_dict().items()}
    return {key: torch.zeros(1).expand(shape).contiguous() for key, shape in shapes.items()}


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_that_is_not_supported_is_named(tmp_path, name):
    torch.save(make_state(name), tmp_path / "w.pth")
    hints = CheckpointHints(heads=3, activation="gelu")
    with pytest.raises(RequestError, match=KINDS[name]) as refusal:
        load(weights=tmp_path / "w.pth", hints=hints)
    assert "not supported yet" in refusal.value.message
    assert "whole checkpoint" not in refusal.value.fix


ROTARY = [
    "vit_pe_spatial_tiny_patch16_512",
    "vit_pe_core_tiny_patch16_384",
    "vit_small_patch16_rope_mixed_ape_224",
    "eva02_tiny_patch14_224",
    "vit_small_patch16_dinov3",
]


@pytest.mark.parametrize("name", ROTARY)
def test_a_file_of_rotary_positions_is_asked_for_its_architecture(tmp_path, name):
    torch.save(make_state(name), tmp_path / "w.pth")
    with pytest.raises(RequestError, match=r"don't show .*rotary positions") as refusal:
        load(weights=tmp_path / "w.pth")
    assert refusal.value.fix == "give --arch timm:NAME."


def test_the_layers_of_vit_pytorch_are_named(tmp_path):
    names = ("pos_embedding", "to_patch_embedding.2.weight", "transformer.layers.0.0.to_qkv.weight")
    torch.save(dict.fromkeys(names, torch.zeros(2, 2)), tmp_path / "w.pth")
    with pytest.raises(RequestError, match="vit-pytorch"):
        load(weights=tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"global_pool": "max"}, "'max of timm'"),
        ({"global_pool": "avgmax"}, "'avgmax of timm'"),
        ({"global_pool": "prr"}, "'prr of timm'"),
        ({"global_pool": "", "num_classes": 5}, "every token its own logits"),
        ({"act_layer": "relu"}, "'relu', is not supported yet"),
    ],
)
def test_an_argument_of_a_folder_that_is_not_supported_is_named(tmp_path, changes, part):
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 3}
    model = timm_models.create_model("vit_tiny_patch16_224", **sizes, **changes)
    arguments = {**sizes, **changes}
    timm_models.save_for_hf(model, tmp_path, model_args=arguments, safe_serialization=True)
    with pytest.raises(RequestError, match=part):
        load(weights=tmp_path)


FOLDERS = [
    {"global_pool": "", "num_classes": 0, "reg_tokens": 4},
    {"global_pool": "avg", "fc_norm": False},
    {"global_pool": "avg", "pool_include_prefix": True},
    {"fc_norm": True},
    {"pre_norm": True},
    {"act_layer": "gelu_tanh"},
    {"img_size": 30, "patch_size": 14},
    {"no_embed_class": True},
]


@torch.no_grad()
@pytest.mark.parametrize("changes", FOLDERS, ids=str)
def test_an_argument_of_a_folder_is_read(tmp_path, changes):
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}
    arguments = {**sizes, "num_classes": 5, **changes}
    torch.manual_seed(0)
    model = timm_models.create_model("vit_tiny_patch16_224", **arguments).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0.05, 0.3)
    timm_models.save_for_hf(model, tmp_path, model_args=arguments, safe_serialization=True)
    loaded = load(weights=tmp_path)
    images = torch.randn(2, 3, *model.patch_embed.img_size)
    torch.testing.assert_close(loaded.vit(images), model(images), rtol=1e-4, atol=2e-5)
    assert not loaded.assumed.keys() - {"problem_type", "preprocessing"}
