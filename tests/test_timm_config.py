"""timm's config.json determines the model: `save_for_hf` writes it, timm's own model answers."""

import json
import re
from collections.abc import Mapping

import pytest
import timm_models
import torch

from vit_export import RequestError
from vit_export.checkpoints.families import FAMILIES, timm_config
from vit_export.checkpoints.families.translation import translate
from vit_export.checkpoints.hints import CheckpointHints
from vit_export.checkpoints.infer_spec import infer_spec
from vit_export.checkpoints.load import load
from vit_export.model.vit.vit import Vit

ARCHITECTURES = ["vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224"]


@torch.no_grad()
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_folder_of_timm_needs_no_option(tmp_path, name):
    torch.manual_seed(0)
    model = timm_models.create_model(name, num_classes=3, depth=1).eval()
    labels = {"label_names": ["n1", "n2", "n3"], "label_descriptions": {"n1": "ant"}}
    timm_models.save_for_hf(model, tmp_path, model_config=labels, safe_serialization=True)
    loaded = load(weights=tmp_path)
    images = torch.randn(2, 3, 224, 224)
    torch.testing.assert_close(loaded.vit(images), model(images), rtol=1e-4, atol=1e-5)
    assert loaded.labels == ("ant", "n2", "n3")
    config = model.pretrained_cfg
    assert loaded.preprocessing.mean == config["mean"]
    assert loaded.preprocessing.resize == int(224 / config["crop_pct"])


def test_arguments_win_over_the_architecture():
    config = {"architecture": "vit_tiny_patch16_224", "global_pool": "token"}
    config["model_args"] = {"num_heads": 6, "act_layer": "quick_gelu", "global_pool": "avg"}
    expected = {"heads": 6, "mlp": "quick_gelu", "pool": "patch_mean", "norm_eps": 1e-6}
    expected |= {"positions": "all"}
    assert timm_config.read_facts(config) == expected


@pytest.mark.parametrize("pool", ["max", "avgmax"])
def test_a_pool_that_is_not_built_is_refused(tmp_path, pool):
    """It is refused by its name, from a folder and in memory."""
    model = timm_models.create_model("vit_tiny_patch16_224", depth=1, global_pool=pool)
    timm_models.save_for_hf(model, tmp_path, safe_serialization=True)
    for request in ({"weights": tmp_path}, {"model": model}):
        with pytest.raises(RequestError, match=f"pool is '{pool} of timm'") as refusal:
            load(**request)
        assert refusal.value.fix.startswith("Known: map, mean")


@torch.no_grad()
def test_a_mean_over_all_tokens(tmp_path):
    torch.manual_seed(0)
    options = {"global_pool": "avg", "pool_include_prefix": True, "num_classes": 3, "depth": 1}
    model = timm_models.create_model("vit_tiny_patch16_224", **options).eval()
    timm_models.save_for_hf(model, tmp_path, safe_serialization=True)
    images = torch.randn(2, 3, 224, 224)
    loaded = load(weights=tmp_path)
    torch.testing.assert_close(loaded.vit(images), model(images), rtol=1e-4, atol=1e-5)


NOT_BUILT = {
    "vit_base_patch16_rpn_224": "ResPostBlock",
    "vit_pe_spatial_tiny_patch16_512": "EvaBlock",
    "vit_small_patch16_rope_224": "EvaBlock",
    "vit_small_patch16_18x2_224": "ParallelThingsBlock",
    "vit_base_patch16_xp_224": "ParallelScalingBlock",
    "vit_dwee_patch16_reg1_gap_256": "differential attention",
    "naflexvit_base_patch16_gap": "NaFlexVit",
}


@pytest.mark.parametrize("name", NOT_BUILT)
def test_an_architecture_that_is_not_built_is_refused_by_name(name):
    with pytest.raises(RequestError) as refusal:
        timm_config.read_facts({"architecture": name})
    assert refusal.value.message.startswith(f"{name} of timm has ")
    assert NOT_BUILT[name] in refusal.value.message


def test_a_probe_for_the_patches_alone_is_refused():
    model = timm_models.create_model("vit_so150m_patch16_reg4_map_256", depth=1)
    with pytest.raises(RequestError, match="a probe that attends to the patches alone"):
        load(model)


def test_arguments_that_are_code_are_refused():
    with pytest.raises(RequestError, match="norm_layer of model_args, which is not supported"):
        timm_config.read_facts(
            {"architecture": "vit_tiny", "model_args": {"norm_layer": "rmsnorm"}}
        )


MODULES = ["vision_transformer", "deit", "eva", "beit", "cait", "naflexvit"]
MODULES += ["vision_transformer_hybrid", "vision_transformer_relpos", "vision_transformer_sam"]
ACTIVATIONS = {"GELUTanh": "gelu_tanh", "QuickGELU": "quick_gelu", "GELU": "gelu", "SiLU": "swiglu"}
OTHER_NORMALIZATIONS = {
    "ImageNet": r"beitv2_.*|deit_(tiny|small|base)_patch16_.*|vit_.*_patch1[46]_gap_(224|448)|"
    r"vit_small_patch8_224",
    "CLIP": r"eva_large_.*|vit_.*_radio_v[34]",
    "0.5": r"vit_large_patch14_clip_(224|336)|vit_base_patch\d+_plus_2.*|vit_small_.*_36x1_224",
    "none": r"vit_.*_tipsv2|vit_base_patch16_224_miil",
}
"""Architectures of timm whose normalization differs from our default, by that normalization.

No tensor shows it, so that the default is wrong for a bare state dict: this is why an assumption is
reported. timm has no weights for `plus` and `36x1`.
"""


def create(name):
    """An architecture without memory, with one block if its code allows that."""
    with torch.device("meta"):
        try:
            return timm_models.create_model(name, depth=1)
        except (AssertionError, TypeError):
            return timm_models.create_model(name)


def infer(model, name):
    """The spec of a state dict and a config.json, and the family; hints complete them.

    Raises:
        RequestError: it is refused by name, or its tensors do not fit.
    """
    state = model.state_dict()
    family = next((one for one in FAMILIES if one.recognizes(state.keys())), None)
    if family is None:
        raise RequestError(f"{name} is of no family.", "take another.")
    tensors = translate(family, state).tensors
    config = {"architecture": name, "global_pool": model.global_pool}
    known = family.config_facts(config)
    heads = known.get("heads", {})  # by width, where several architectures share the tensors
    if isinstance(heads, Mapping):
        heads = heads.get(model.embed_dim) or model.blocks[0].attn.num_heads
    facts = family.conventions | {"mlp": "gelu"} | known | {"heads": heads}
    spec = infer_spec(tensors, facts, name)
    with torch.device("meta"):
        expected = {key: tensor.shape for key, tensor in Vit(spec).state_dict().items()}
    if expected != {key: tensor.shape for key, tensor in tensors.items()}:
        raise RequestError(f"{name} does not fit.", "take another.")
    return spec, family


ATTENTIONS = {"Block": {"Attention"}, "EvaBlock": {"EvaAttention", "AttentionRope"}}
"""Kinds of attention by the kind of block, where both are plain."""


def assert_plain(model, spec, name):
    """Assert that the blocks are plain ones, with the values of `spec`."""
    block = model.blocks[0]
    kind, norm, attention = (type(one).__name__ for one in (block, block.norm1, block.attn))
    assert norm == "LayerNorm", name
    assert attention in ATTENTIONS[kind], name
    assert spec.heads == block.attn.num_heads, name
    assert spec.norm_eps == block.norm1.eps, name
    assert spec.mlp == ACTIVATIONS[type(block.mlp.act).__name__], name
    assert spec.pool == {"avg": "patch_mean"}.get(model.global_pool, model.global_pool), name
    assert not getattr(model, "pool_include_prefix", False), name


@pytest.mark.slow
def test_every_architecture_is_read_or_refused():
    """Every ViT of timm that is read has plain blocks and the values that timm gives it."""
    count = 0
    for name in timm_models.list_models(module=MODULES):
        model = create(name)
        try:
            spec, family = infer(model, name)
        except RequestError:
            continue
        count += 1
        assert_plain(model, spec, name)
        fields = family.choose_preprocessing(spec)  # None: a bare file gets none
        agrees = fields is None or list(model.pretrained_cfg["mean"]) == list(fields["mean"])
        differs = re.fullmatch("|".join(OTHER_NORMALIZATIONS.values()), name)
        assert agrees or differs, name
    assert count > 140


BARE = ["deit_tiny_distilled_patch16_224", "deit3_small_patch16_224", "vit_small_patch14_dinov2"]
BARE += ["vit_small_patch14_reg4_dinov2", "vit_tiny_patch16_224", "vit_base_patch16_siglip_224"]
BARE += ["vit_xsmall_patch16_clip_224", "vit_medium_patch16_gap_240", "beit3_base_patch16_224"]


@pytest.mark.parametrize("name", BARE)
def test_the_default_for_a_bare_file_is_that_of_timm(tmp_path, name):
    """The parts that the tensors show decide mean and std."""
    model = timm_models.create_model(name, depth=1, num_classes=2)
    torch.save(model.state_dict(), tmp_path / "w.pth")
    loaded = load(weights=tmp_path / "w.pth", hints=CheckpointHints(heads=1, activation="gelu"))
    config = model.pretrained_cfg
    assert loaded.preprocessing.mean == config["mean"]
    assert loaded.preprocessing.std == config["std"]
    assert loaded.preprocessing_note.startswith("assumed, the default of timm")


STEPS = {"input_size": [3, 16, 16], "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4]}


@pytest.mark.parametrize(("mode", "resize"), [("center", 17), ("squash", (17, 17))])
def test_preprocessing_from_a_config(mode, resize):
    """As in timm/data/transforms_factory.py, 17 is the floor of 16 / 0.9."""
    settings = STEPS | {"crop_pct": 0.9, "crop_mode": mode, "interpolation": "bicubic"}
    assert timm_config.read_preprocessing({"pretrained_cfg": settings}) == {
        "mode": "RGB",
        "resize": resize,
        "crop": (16, 16),
        "interpolation": "bicubic",
        "mean": STEPS["mean"],
        "std": STEPS["std"],
    }


@pytest.mark.parametrize("changes", [{"crop_mode": "border"}, {"input_size": [3, 16, 24]}])
def test_preprocessing_that_is_not_built(changes):
    with pytest.raises(RequestError, match="is not supported yet"):
        timm_config.read_preprocessing({"pretrained_cfg": STEPS | changes})


def test_a_config_without_preprocessing():
    assert timm_config.read_preprocessing({"architecture": "vit_tiny_patch16_224"}) is None


def test_a_config_that_makes_no_sense(tmp_path):
    model = timm_models.create_model("vit_tiny_patch16_224", num_classes=3, depth=1)
    timm_models.save_for_hf(model, tmp_path, safe_serialization=True)
    config = json.loads((tmp_path / "config.json").read_text())
    for changes in ({"model_args": 3}, {"pretrained_cfg": "x"}, {"label_names": 3}):
        (tmp_path / "config.json").write_text(json.dumps(config | changes))
        with pytest.raises(RequestError, match=r"unexpected structure|neither a list"):
            load(weights=tmp_path)
