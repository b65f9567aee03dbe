"""What nothing records about a checkpoint is named as assumed, or asked for with --strict."""

import re
import shlex

import pytest
import timm_models
import torch
import transformers
from support import run, run_json

from vit_export import RequestError
from vit_export.checkpoints.hints import CheckpointHints
from vit_export.checkpoints.load import load
from vit_export.checkpoints.overrides import ModelOverrides, PreprocessingOverrides

SIZES = {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}
ASSUMED = {"pool": "token", "activation": "gelu", "norm_eps": 1e-6, "trained_size": "16x16"}
ASSUMED |= {"block": "pre-norm", "preprocessing": "default of timm vision_transformer"}
ASSUMED |= {"problem_type": "single_label"}
HINTS = {"pool": "token", "activation": "gelu", "norm_eps": 1e-6, "trained_size": "16x16"}
HINTS |= {"problem_type": "single_label"}


@pytest.fixture
def bare(tmp_path):
    """The state dict of a small timm model."""
    torch.manual_seed(0)
    model = timm_models.VisionTransformer(**SIZES, num_classes=5)
    torch.save(model.state_dict(), tmp_path / "w.pth")
    return tmp_path / "w.pth"


def test_a_bare_file_of_timm_names_what_is_assumed(bare):
    assert load(weights=bare, hints=CheckpointHints(heads=3)).assumed == ASSUMED


@pytest.mark.parametrize("name", HINTS)
def test_a_hint_settles_its_assumption(bare, name):
    hints = CheckpointHints(heads=3, **{name: HINTS[name]})
    assert load(weights=bare, hints=hints).assumed.keys() == ASSUMED.keys() - {name}


def test_preprocessing_options_settle_the_preprocessing(bare):
    steps = PreprocessingOverrides.parse(mean=0.5, std=0.5, resize=16)
    overrides = ModelOverrides(preprocessing=steps)
    loaded = load(weights=bare, hints=CheckpointHints(heads=3), overrides=overrides)
    assert "preprocessing" not in loaded.assumed


def test_strict_asks_and_its_fix_works_to_the_letter(tmp_path):
    bare = tmp_path / "w.pth"
    model = timm_models.create_model("vit_tiny_patch16_224", num_classes=5)
    torch.save(model.state_dict(), bare)
    with pytest.raises(RequestError) as refusal:
        load(weights=bare, hints=CheckpointHints(heads=3, strict=True))
    assert "nothing records pool token, activation gelu" in refusal.value.message
    options = re.search(r"--.*?(?=;)", refusal.value.fix)[0].replace("NAME", "vit_tiny_patch16_224")
    values = dict(zip(*[iter(shlex.split(options))] * 2, strict=True))
    keywords = {name[2:].replace("-", "_"): value for name, value in values.items()}
    steps = PreprocessingOverrides.parse(
        **{name: keywords.pop(name) for name in ("mean", "std", "resize")}
    )
    keywords["norm_eps"] = float(keywords["norm_eps"])
    hints = CheckpointHints(heads=3, strict=True, **keywords)
    loaded = load(weights=bare, hints=hints, overrides=ModelOverrides(preprocessing=steps))
    assert not loaded.assumed


def test_a_folder_of_a_library_assumes_nothing_about_the_model(tmp_path):
    model = timm_models.create_model("vit_tiny_patch16_224", depth=1, num_classes=2)
    timm_models.save_for_hf(model, tmp_path / "timm", safe_serialization=True)
    sizes = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 3}
    config = transformers.ViTConfig(**sizes, image_size=16, patch_size=8, intermediate_size=48)
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path / "hf")
    assert load(weights=tmp_path / "timm").assumed.keys() <= {"norm_eps", "trained_size"}
    assert load(weights=tmp_path / "hf").assumed.keys() == {"preprocessing"}


def test_the_verdict_the_file_and_inspect_say_what_was_assumed(bare, tmp_path):
    out = tmp_path / "w.onnx"
    done = run("onnx", "--weights", bare, "--heads", "3", "--out", out, "-q").stdout
    assert "PROVEN (reading assumed: pool, activation, norm_eps, trained_size, block" in done
    assert "assumed: pool token, activation gelu, norm_eps 1e-06, trained_size 16x16" in done
    assert "settled by --pool, --activation, --norm-eps, --trained-size, --arch timm:NAME" in done
    for path, hints in ((out, ()), (bare, ("--heads", "3"))):
        assert run_json("inspect", path, *hints)["assumed"] == ASSUMED
    verdict = run_json("validate", out, "-q")
    assert any(one.startswith("reading assumed: pool, ") for one in verdict["caveats"])
