"""Checkpoints of models with rotary positions are read as the libraries compute them."""

import pytest
import timm_models
import torch
import transformers
from reading_cases import draw
from support import ROOT, expect_error, run, run_json

from vit_export import RequestError
from vit_export.checkpoints.families.eva_architectures import is_known, list_arguments, read_rotary
from vit_export.checkpoints.hints import CheckpointHints
from vit_export.checkpoints.load import load
from vit_export.checkpoints.overrides import ModelOverrides

SIZES = {"img_size": 64, "embed_dim": 48, "num_heads": 3, "depth": 2, "num_classes": 5}
ARCHITECTURES = {
    "vit_small_patch16_dinov3": {},
    "vit_small_patch16_dinov3_qkvb": {"img_size": [64, 96]},
    "vit_small_plus_patch16_dinov3": {},
    "vit_small_patch16_lingbot": {},
    "eva02_tiny_patch14_224": {"img_size": 70},
    "eva02_base_patch14_224": {"img_size": 70},
    "eva02_base_patch16_clip_224": {},
    "eva_giant_patch14_224": {"img_size": 70},
    "vit_pe_core_base_patch16_224": {"attn_pool_num_heads": 2},
    "vit_pe_lang_large_patch14_448": {"img_size": 70},
    "vit_small_patch16_rope_224": {},
    "vit_small_patch16_rope_mixed_ape_224": {},
    "vit_base_patch16_rope_reg1_gap_256": {},
}
CHANGES = {
    "another base": {"rope_temperature": 30.0},
    "another order": {"rope_grid_indexing": "xy"},
    "other pairs": {"rope_rotate_half": False},
    "an offset": {"rope_grid_offset": 0.5},
    "frequencies of pixels": {"rope_type": "cat", "ref_feat_shape": [3, 5]},
    "none": {"use_rot_pos_emb": False, "use_abs_pos_emb": True},
}
"""Arguments of a folder that no tensor shows."""
HF = {"hidden_size": 48, "num_attention_heads": 3, "num_hidden_layers": 2, "image_size": 32}
HF |= {"patch_size": 8, "intermediate_size": 60, "num_register_tokens": 2}


def save_timm(folder, name, **changes):
    arguments = {**SIZES, **ARCHITECTURES.get(name, {}), **changes}
    module = draw(timm_models.create_model(name, **arguments))
    timm_models.save_for_hf(module, folder, model_args=arguments, safe_serialization=True)
    return module


@torch.no_grad()
def assert_reads(model, module, size=None):
    images = torch.randn(2, 3, *(size or model.signature.image_size))
    ours, theirs = model.vit(images), module(images)
    theirs = getattr(theirs, "pooler_output", theirs)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * float(theirs.abs().max()))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_folder_of_timm_is_read(tmp_path, name):
    module = save_timm(tmp_path, name)
    model = load(weights=tmp_path)
    assert_reads(model, module)
    assert not model.assumed.keys() - {"problem_type", "preprocessing"}
    assert_reads(load(module), module)


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_an_argument_of_a_folder_decides_the_angles(tmp_path, changes):
    module = save_timm(tmp_path, "vit_small_patch16_dinov3", **changes)
    assert_reads(load(weights=tmp_path), module)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"use_post_norm": True, "init_values": None}, "use_post_norm"),
        ({"qk_norm": True}, "qk_norm"),
        ({"rope_type": "base"}, "rope_type 'base'"),
    ],
)
def test_an_argument_that_is_not_supported_is_named(tmp_path, changes, part):
    module = timm_models.create_model("vit_small_patch16_dinov3", **SIZES)
    arguments = {**SIZES, **changes}
    timm_models.save_for_hf(module, tmp_path, model_args=arguments, safe_serialization=True)
    with pytest.raises(RequestError, match=part):
        load(weights=tmp_path)


RESIZED = ["vit_small_patch16_dinov3", "eva02_tiny_patch14_224", "vit_small_patch16_rope_mixed_224"]


@pytest.mark.parametrize("name", RESIZED)
def test_another_size_is_that_of_timm(tmp_path, name):
    module = save_timm(tmp_path, name)
    side = 3 * module.patch_embed.patch_size[0]
    model = load(weights=tmp_path, overrides=ModelOverrides(image_size=f"{side}x{2 * side}"))
    module.set_input_size((side, 2 * side))
    assert_reads(model, module)


@pytest.mark.parametrize("gated", [False, True])
def test_a_folder_of_transformers_is_read_at_any_size(tmp_path, gated):
    gate = {"use_gated_mlp": True, "hidden_act": "silu"} if gated else {}
    config = transformers.DINOv3ViTConfig(**HF, **gate, rope_theta=40.0)
    module = draw(transformers.DINOv3ViTModel(config))
    module.save_pretrained(tmp_path)
    model = load(weights=tmp_path)
    assert model.vit.spec.rotary.base == 40.0
    assert_reads(model, module)
    assert_reads(load(module), module)
    other = load(weights=tmp_path, overrides=ModelOverrides(image_size="24x40"))
    assert_reads(other, module)


def test_a_bare_file_of_transformers_names_what_it_assumes(tmp_path):
    config = transformers.DINOv3ViTConfig(**HF | {"hidden_size": 384, "num_attention_heads": 6})
    module = draw(transformers.DINOv3ViTModel(config))
    torch.save(module.state_dict(), tmp_path / "w.pth")
    model = load(weights=tmp_path / "w.pth", hints=CheckpointHints(trained_size="32"))
    assert_reads(model, module)
    assert model.assumed["rotary"] == "centres with base 100"
    assert load(weights=tmp_path / "w.pth").assumed["trained_size"] == "224x224"


def test_keys_without_a_bias_have_one_of_zeros(tmp_path):
    save_timm(tmp_path, "eva02_tiny_patch14_224")
    bias = load(weights=tmp_path).vit.blocks[0].attention.qkv.bias
    queries, keys, values = bias.chunk(3)
    assert not keys.any()
    assert queries.all()
    assert values.all()


def test_a_lost_bias_of_one_block_is_missing(tmp_path):
    module = save_timm(tmp_path, "eva02_tiny_patch14_224")
    state = module.state_dict()
    del state["blocks.1.attn.q_bias"]
    torch.save(state, tmp_path / "w.pth")
    hints = CheckpointHints(arch="timm:eva02_tiny_patch14_224", heads=3, trained_size="70")
    with pytest.raises(RequestError, match=r"missing: blocks\.1\.attn\.qkv\.bias"):
        load(weights=tmp_path / "w.pth", hints=hints)


def test_the_table_of_architectures_is_that_of_timm():
    names = [name for name in timm_models.list_models(module="eva") if is_known(name)]
    assert len(names) > 60
    for name in names:
        try:
            arguments = list_arguments(name)
        except RequestError:
            continue
        with torch.device("meta"):
            module = timm_models.create_model(name, num_classes=5)
        block, rope = module.blocks[0], module.rope
        assert (block.attn.num_heads, block.norm1.eps) == (
            arguments["num_heads"],
            arguments["norm_eps"],
        ), name
        assert (module.global_pool, module.no_embed_class) == (
            arguments["global_pool"],
            arguments["no_embed_class"],
        ), name
        rotary = read_rotary(arguments)
        assert (rotary is None) == (rope is None), name
        if rotary is not None:
            assert (rotary.first == "columns") == (rope.grid_indexing == "xy"), name
            if rotary.frequencies == "fixed":
                assert (rotary.base, rotary.offset) == (rope.temperature, rope.grid_offset), name
                assert (rotary.pairs == "halves") == rope.rotate_half, name
                assert rotary.reference_grid == getattr(rope, "ref_feat_shape", None), name
        if module.attn_pool is not None:
            assert module.attn_pool.num_heads == arguments["attn_pool_num_heads"], name


def test_every_name_of_timm_is_known():
    names = timm_models.list_models(module="eva")
    assert [name for name in names if not is_known(name)] == []


@pytest.mark.slow
def test_locate_knows_that_quantization_scales_the_norms_inside_a_block(tmp_path):
    save_timm(tmp_path / "m", "eva02_base_patch16_clip_224", embed_dim=192)
    photos = ROOT / "vit_export" / "data" / "photos"
    int8 = ("--precision", "int8", "--calibration", photos)
    run("onnx", "--weights", tmp_path / "m", *int8, "--out", tmp_path / "m.onnx")
    run("locate", tmp_path / "m.onnx", "--weights", tmp_path / "m")


def test_an_exported_file_is_confirmed_by_the_library(tmp_path):
    config = transformers.DINOv3ViTConfig(**HF)
    draw(transformers.DINOv3ViTModel(config)).save_pretrained(tmp_path / "m")
    built = run_json(
        "onnx", "--weights", tmp_path / "m", "--check", "require", "--out", tmp_path / "m.onnx"
    )
    assert "checked against transformers" in str(built)
    run("validate", tmp_path / "m.onnx", "--weights", tmp_path / "m")
    error = expect_error(
        "onnx", "--weights", tmp_path / "m", "--heads", "2", "--out", "x.onnx", exit_code=2
    )
    assert "heads" in error
