"""A checkpoint that lost tensors, or lies beside another model's files, is refused."""

import json
import re

import pytest
import timm_models
import torch
import transformers
from foreign_names import as_dinov2, as_openai, as_torchvision
from safetensors.torch import load_file, save_file
from support import expect_error, tiny_spec
from timm_models import VisionTransformer

from vit_export import RequestError
from vit_export.checkpoints.families import FAMILIES, find_family
from vit_export.checkpoints.families.naming import build_name_lookup, make_example
from vit_export.checkpoints.families.translation import translate
from vit_export.checkpoints.hints import CheckpointHints
from vit_export.checkpoints.load import load
from vit_export.checkpoints.overrides import ModelOverrides
from vit_export.model.vit.state import random_vit

SIZES = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 3}
SIZES |= {"image_size": 16, "patch_size": 8, "intermediate_size": 60}
TIMM_SIZES = {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}


@pytest.fixture
def folder(tmp_path):
    config = transformers.ViTConfig(**SIZES, num_labels=5)
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path)
    load(weights=tmp_path)  # it is complete
    return tmp_path


def drop_tensors(folder, pattern):
    path = folder / "model.safetensors"
    state = load_file(path)
    kept = {name: tensor for name, tensor in state.items() if not re.search(pattern, name)}
    assert len(kept) < len(state)
    save_file(kept, path)


def change_config(folder, **changes):
    path = folder / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (r"layer\.2\.", "says num_hidden_layers 3, its tensors 2"),
        (r"layer\.1\.", "block 1 is missing, and block 2 is there"),
        (r"^classifier", "names a ViTForImageClassification, its tensors have no classes"),
        (r"classifier\.bias", "every model of this family has classifier.bias"),
        (r"vit\.layernorm", "every model of this family has layernorm.weight"),
        (r"projection\.bias", "has vit.embeddings.patch_embeddings.projection.bias"),
        (r"(query|key|value)\.bias", "says qkv_bias True, its tensors False"),
        (
            r"layer\.1.*query\.bias",
            "missing: vit.encoder.layer.1.attention.attention.query.bias.",
        ),
        (r"layer\.1\.layernorm_after\.bias", "missing: vit.encoder.layer.1.layernorm_after.bias"),
        (r"cls_token", "describes a 'vit', the weights are Hugging Face I-JEPA classifier"),
        (r"position_embeddings", "position_embeddings is missing"),
    ],
)
def test_a_checkpoint_that_lost_tensors_is_refused(folder, pattern, message):
    drop_tensors(folder, pattern)
    with pytest.raises(RequestError) as refusal:
        load(weights=folder)
    assert message in refusal.value.message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_hidden_layers": 12}, "says num_hidden_layers 12, its tensors 3"),
        ({"hidden_size": 768}, "says hidden_size 768, its tensors 24"),
        ({"patch_size": 16}, "says patch_size 16, its tensors 8"),
        ({"patch_size": [8, 16]}, "says patch_size 16, its tensors 8"),
        ({"intermediate_size": 96}, "says intermediate_size 96, its tensors 60"),
        ({"num_channels": 1}, "says num_channels 1, its tensors 3"),
        (
            {"model_type": "bert"},
            "describes a 'bert', which is not supported yet",
        ),
        ({"model_type": "dinov2"}, "describes a 'dinov2', the weights are Hugging Face ViT"),
        ({"model_type": "swin"}, "describes a 'swin'"),
        ({"model_type": 3}, "describes a 3"),
    ],
)
def test_another_models_config_is_refused(folder, changes, message):
    change_config(folder, **changes)
    with pytest.raises(RequestError) as refusal:
        load(weights=folder)
    assert message in refusal.value.message


@pytest.mark.parametrize(
    "changes", [{"model_type": None}, {"patch_size": [8, 8]}, {"hidden_size": None}]
)
def test_a_config_that_says_less_is_used(folder, changes):
    change_config(folder, **changes)
    assert load(weights=folder).vit.spec.heads == 3


NAMES = ["ant", "bee", "cat", "dog", "elk"]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (dict(enumerate("abc")), "names 3 classes, its tensors have 5"),
        ({i: f"class {i}" for i in range(1000)}, "names 1000 classes, its tensors have 5"),
        ({0: "a", 1: "b", 3: "c", 4: "d", 5: "e"}, "names 4 classes, its tensors have 5"),
        (dict(enumerate(["a", "", "c", "d", "e"])), "names 4 classes"),
        (NAMES[:2], "names 2 classes, its tensors have 5"),
    ],
)
def test_labels_of_another_number(folder, labels, message):
    change_config(folder, id2label=labels)
    with pytest.raises(RequestError) as refusal:
        load(weights=folder)
    assert message in refusal.value.message
    assert refusal.value.fix == "give --labels FILE."
    file = folder / "names.txt"
    file.write_text("\n".join(NAMES))
    assert load(weights=folder, overrides=ModelOverrides(labels=file)).labels == tuple(NAMES)
    assert load(weights=folder, overrides=ModelOverrides(outputs=("features",))).labels == ()


def test_labels_of_the_right_number(folder):
    change_config(folder, id2label=dict(enumerate(NAMES)))
    assert load(weights=folder).labels == tuple(NAMES)


def test_a_timm_checkpoint_has_to_fit_its_config(tmp_path):
    model = timm_models.create_model("vit_tiny_patch16_224", num_classes=3, depth=1)
    timm_models.save_for_hf(model, tmp_path, safe_serialization=True)
    load(weights=tmp_path)
    drop_tensors(tmp_path, r"^head\.")
    with pytest.raises(RequestError, match="says num_classes 3, its tensors 0"):
        load(weights=tmp_path)


@pytest.mark.parametrize("arguments", [{"final_norm": False}, {}])
def test_a_timm_model_without_a_norm_has_to_say_so(tmp_path, arguments):
    model = timm_models.create_model("vit_tiny_patch16_224", num_classes=3, depth=1, **arguments)
    timm_models.save_for_hf(model, tmp_path, safe_serialization=True)
    if arguments:
        assert not load(weights=tmp_path).vit.spec.norm_before_pool
        change_config(tmp_path, model_args=None)
    else:
        drop_tensors(tmp_path, r"^norm\.")
    with pytest.raises(RequestError, match=r"every model of this family has norm\.weight"):
        load(weights=tmp_path)


SPEC = tiny_spec(image_size=(16, 16))
FOREIGN = {
    "OpenAI": (
        {"norm_before_blocks": True, "projection": 7, "classes": None, "patch_bias": False},
        as_openai,
        r"ln_post",
        "visual.ln_post.weight",
    ),
    "torchvision": ({}, as_torchvision, r"encoder\.ln\.", "encoder.ln.weight"),
    "DINOv2": (
        {"layer_scale": True, "classes": None, "positions": "no_registers"},
        as_dinov2,
        r"^norm\.",
        "norm.weight",
    ),
}


@pytest.mark.parametrize(("changes", "rename", "pattern", "missing"), FOREIGN.values(), ids=FOREIGN)
def test_a_norm_that_every_model_of_the_family_has(tmp_path, changes, rename, pattern, missing):
    state = rename(random_vit(tiny_spec(image_size=(16, 16), **changes), 0).state_dict())
    hints = CheckpointHints(heads=3, activation="gelu", pool="token")
    torch.save(state, tmp_path / "w.pth")
    load(weights=tmp_path / "w.pth", hints=hints)
    kept = {name: tensor for name, tensor in state.items() if not re.search(pattern, name)}
    torch.save(kept, tmp_path / "w.pth")
    with pytest.raises(RequestError, match=f"every model of this family has {missing}"):
        load(weights=tmp_path / "w.pth", hints=hints)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_examples_are_readable_and_match(family):
    for pattern in (*family.marks, *family.names):
        name = make_example(pattern)
        assert re.fullmatch(r"[\w.]+", name), pattern
        assert re.fullmatch(pattern, name), (pattern, name)


@pytest.mark.parametrize("name", ["Hugging Face ViT", "torchvision", "OpenAI or OpenCLIP"])
def test_names_go_back_and_forth(name):
    """Our name becomes the file's; where the file lost that tensor, its siblings show the name."""
    vit = random_vit(SPEC, 0)
    state = {
        "Hugging Face ViT": lambda: transformers.ViTForImageClassification(
            transformers.ViTConfig(**SIZES, num_labels=5)
        ).state_dict(),
        "torchvision": lambda: as_torchvision(vit.state_dict()),
        "OpenAI or OpenCLIP": lambda: as_openai(
            random_vit(
                tiny_spec(norm_before_blocks=True, projection=7, classes=None), 0
            ).state_dict()
        ),
    }[name]()
    family = find_family(state, "here")
    for ours, theirs in translate(family, state).origins.items():
        if "embedding" in ours or ours == "head.classifier.weight" or " + " in theirs:
            continue  # it has no sibling that shows the prefix
        rest = {key: tensor for key, tensor in state.items() if key != theirs}
        assert build_name_lookup(family, translate(family, rest))(ours) == theirs


@pytest.mark.parametrize("prefix", ["net.", "backbone.vit.", "encoder."])
def test_a_prefix_is_named(tmp_path, prefix):
    state = VisionTransformer(**TIMM_SIZES, num_classes=5).state_dict()
    wrapped = {prefix + name: tensor for name, tensor in state.items()}
    torch.save(wrapped | {"decoder.weight": torch.zeros(2)}, tmp_path / "w.pth")
    with pytest.raises(RequestError) as refusal:
        load(weights=tmp_path / "w.pth")
    assert f"Without the prefix {prefix!r} they belong to timm" in refusal.value.message
    assert f"--prefix {prefix}" in refusal.value.fix
    model = load(weights=tmp_path / "w.pth", hints=CheckpointHints(heads=3, prefix=prefix))
    assert model.provenance.unused.keys() == {"decoder.weight"}


def test_the_closest_family_is_named_without_regular_expressions(tmp_path):
    state = VisionTransformer(**TIMM_SIZES, num_classes=5).state_dict()
    del state["blocks.0.attn.qkv.weight"]
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(RequestError) as refusal:
        load(weights=tmp_path / "w.pth")
    assert refusal.value.message.endswith("and has to have blocks.0.attn.qkv.weight.")


@pytest.mark.parametrize(
    ("hints", "message"),
    [
        ({"activation": "gelu"}, "its MLP is gated, and a gate of gelu is not supported yet"),
        ({"pool": "token_patch_mean"}, None),
        ({"pool": "mean"}, "--pool says mean, its tensors say token_patch_mean"),
    ],
)
def test_a_hint_is_never_ignored(tmp_path, hints, message):
    config = transformers.Dinov2Config(
        **{**SIZES, "num_labels": 5, "use_swiglu_ffn": True, "intermediate_size": None}
    )
    transformers.Dinov2ForImageClassification(config).save_pretrained(tmp_path)
    hints = CheckpointHints(**hints)
    if message is None:
        assert load(weights=tmp_path, hints=hints).vit.spec.mlp == "swiglu"
        return
    with pytest.raises(RequestError) as refusal:
        load(weights=tmp_path, hints=hints)
    assert message in refusal.value.message


def test_the_command_refuses_it_too(folder):
    drop_tensors(folder, r"layer\.2\.")
    message = expect_error("onnx", "--weights", folder, "--out", folder / "o.onnx", exit_code=2)
    assert "its config.json says num_hidden_layers 3, its tensors 2" in message


@pytest.mark.parametrize("epsilon", ["nan", "inf"])
def test_an_epsilon_that_is_no_number(folder, epsilon):
    request = ["--weights", folder, "--norm-eps", epsilon, "--out", folder / "o.onnx"]
    assert f"norm_eps is {epsilon}" in expect_error("onnx", *request, exit_code=2)


def test_tensors_of_another_model_are_named_and_so_are_the_hints(folder):
    path = folder / "model.safetensors"
    save_file(load_file(path) | {"decoder.weight": torch.zeros(2)}, path)
    with pytest.raises(RequestError, match=r"unexpected: decoder\.weight") as refusal:
        load(weights=folder)
    assert "all tensors of this one and none of others." in refusal.value.fix
    with pytest.raises(RequestError) as refusal:
        load(weights=folder, hints=CheckpointHints(pool="map"))
    assert "or leave --pool out" in refusal.value.fix
