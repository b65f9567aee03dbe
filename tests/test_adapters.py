"""LoRA adapters answer as PEFT's own models do, or are refused by what is not supported."""

import json
import shutil

import pytest
import torch
import transformers
from lora_adapters import ADAPTERS, FOLDER, IMAGES
from safetensors.torch import load_file, save_file

from vit_export import RequestError
from vit_export.checkpoints.hints import CheckpointHints
from vit_export.checkpoints.load import load

BASE = FOLDER / "base"
ANSWERS = json.loads((FOLDER / "answers.json").read_text())
SUPPORTED = [name for name in ADAPTERS if name != "DoRA"]
OLD_NAMES = (
    ("layers.", "encoder.layer."),
    ("q_proj", "attention.query"),
    ("v_proj", "attention.value"),
)
"""Names in memory before transformers 5, which its adapters of that time have."""


def assert_answers(path, expected, base=BASE):
    model = load(weights=path, hints=CheckpointHints(base=base))
    with torch.no_grad():
        answers = model.vit(IMAGES)
    torch.testing.assert_close(answers, torch.tensor(expected), rtol=1e-4, atol=1e-5)
    return model


@pytest.mark.parametrize("name", SUPPORTED)
def test_an_adapter_answers_as_peft_does(name):
    model = assert_answers(FOLDER / name, ANSWERS[name])
    assert model.provenance.weights_from == f"{name} on base"


def test_a_classifier_of_the_adapter_has_other_classes():
    """The labels of the base name other classes."""
    model = assert_answers(FOLDER / "classes", ANSWERS["classes"])
    assert (model.signature.classes, model.labels) == (5, ())
    assert load(weights=BASE).labels == ("LABEL_0", "LABEL_1", "LABEL_2")


def test_json_files_beside_the_adapter_come_first(tmp_path):
    folder = shutil.copytree(FOLDER / "classes", tmp_path / "adapter")
    config = json.loads((BASE / "config.json").read_text())
    config["id2label"] = {str(number): f"flower {number}" for number in range(5)}
    (folder / "config.json").write_text(json.dumps(config))
    assert assert_answers(folder, ANSWERS["classes"]).labels[3] == "flower 3"


def test_an_adapter_with_the_names_of_transformers_4(tmp_path):
    folder = shutil.copytree(FOLDER / "classes", tmp_path / "adapter")
    file = folder / "adapter_model.safetensors"
    renamed = {}
    for name, tensor in load_file(file).items():
        for new, old in OLD_NAMES:
            name = name.replace(new, old)  # noqa: PLW2901 one rename after the other
        renamed[name] = tensor
    assert "base_model.model.vit.encoder.layer.0.attention.attention.query.lora_A.weight" in renamed
    save_file(renamed, file)
    assert_answers(folder, ANSWERS["classes"])


def test_an_adapter_of_a_bare_file(tmp_path):
    """Without its config.json, the base needs the options that the config replaces."""
    torch.save(load_file(BASE / "model.safetensors"), tmp_path / "base.pth")
    adapter = FOLDER / "patterns" / "adapter_model.safetensors"
    hints = CheckpointHints(base=tmp_path / "base.pth", heads=3)
    with torch.no_grad():
        answers = load(weights=adapter, hints=hints).vit(IMAGES)
    expected = torch.tensor(ANSWERS["patterns"])
    torch.testing.assert_close(answers, expected, rtol=1e-4, atol=1e-5)


def test_without_its_base_the_advice_is_to_name_or_merge_it():
    with pytest.raises(RequestError) as refusal:
        load(weights=FOLDER / "classes")
    assert "adapter of base" in refusal.value.message
    assert "--base" in refusal.value.fix
    assert "merge_and_unload()" in refusal.value.fix


def write_settings(folder, **changes):
    shutil.copytree(FOLDER / "patterns", folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | changes))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"peft_type": "IA3"}, "kind IA3"),
        ({"init_lora_weights": "pissa_niter_4"}, "started from pissa_niter_4"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices"),
        ({"alpha_pattern": {"(a+)+b": 1}}, "regular expression"),
        ({"alpha_pattern": [1]}, "no usable lora_alpha"),
        ({"lora_alpha": None}, "no usable lora_alpha"),
    ],
)
def test_what_is_no_plain_lora_is_refused_by_name(tmp_path, settings, message):
    write_settings(tmp_path / "adapter", **settings)
    with pytest.raises(RequestError, match=message):
        load(weights=tmp_path / "adapter", hints=CheckpointHints(base=BASE))


def test_dora_is_refused_by_name():
    with pytest.raises(RequestError, match="LoRA with use_dora"):
        load(weights=FOLDER / "DoRA", hints=CheckpointHints(base=BASE))


@pytest.mark.parametrize("sizes", [{"num_hidden_layers": 1}, {"hidden_size": 24}])
def test_another_base_is_refused(tmp_path, sizes):
    config = json.loads((BASE / "config.json").read_text()) | sizes
    config = transformers.ViTConfig(**config)
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path / "other")
    with pytest.raises(RequestError) as refusal:
        load(weights=FOLDER / "patterns", hints=CheckpointHints(base=tmp_path / "other"))
    assert "layers." in refusal.value.message
    assert "trained on" in refusal.value.fix


def test_a_base_without_an_adapter_is_refused():
    with pytest.raises(RequestError, match="no adapter"):
        load(weights=BASE, hints=CheckpointHints(base=BASE))


def test_layers_that_were_not_merged_are_refused(tmp_path):
    state = load_file(BASE / "model.safetensors")
    state["vit.layers.0.attention.q_proj.lora_A.default.weight"] = torch.zeros(3, 12)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(RequestError) as refusal:
        load(weights=tmp_path / "w.pth")
    assert "not merged" in refusal.value.message
    assert "merge_and_unload()" in refusal.value.fix
