"""Files that are cut off, damaged or of another kind end in one error, and execute nothing."""

import contextlib
import json
import os

import pytest
import torch
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file
from support import expect_error
from timm_models import VisionTransformer
from torch import nn

from vit_export import RequestError, inspect
from vit_export.checkpoints.files import read_checkpoint
from vit_export.checkpoints.hints import CheckpointHints
from vit_export.checkpoints.load import load

SIZES = {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}
STATE = VisionTransformer(**SIZES, num_classes=5).state_dict()
HF_SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3}
HF_SIZES |= {"image_size": 16, "patch_size": 8, "intermediate_size": 96, "num_labels": 5}
FUZZ = settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def load_file(path):
    return load(weights=path, hints=CheckpointHints(heads=3))


def refusal(path):
    """Return the error of loading, without torch's own advice; inspecting ends in one at most."""
    with pytest.raises(RequestError) as refusal:
        load_file(path)
    with contextlib.suppress(RequestError):  # an incomplete checkpoint can be inspected
        inspect(path)
    text = str(refusal.value)
    assert str(path.name) in text
    assert "weights_only" not in text
    assert "\x1b" not in text
    return text


def write_safetensors(path):
    save_file(STATE, path)


def write_pickle(path):
    torch.save(STATE, path)


def write_old_pickle(path):
    torch.save(STATE, path, _use_new_zipfile_serialization=False)


FORMS = {
    "safetensors": ("w.safetensors", write_safetensors),
    "pickle": ("w.pth", write_pickle),
    "old pickle": ("w.bin", write_old_pickle),
}


@pytest.mark.parametrize(("name", "write"), FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.9, 0.99, 0.999])
def test_cut_off(tmp_path, name, write, share):
    path = tmp_path / name
    write(path)
    load_file(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    assert "copy it again" in refusal(path)


@FUZZ
@given(form=st.sampled_from(sorted(FORMS)), data=st.data())
def test_flipped_bytes(tmp_path, form, data):
    """Most flips are in the head or the tail, where the structure is; a flipped weight is valid."""
    name, write = FORMS[form]
    path = tmp_path / name
    write(path)
    content = bytearray(path.read_bytes())
    ends = st.one_of(st.integers(0, 2000), st.integers(-3000, -1), st.integers(0, len(content) - 1))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(ends)] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    for read in (load_file, inspect):
        assert_read_or_refused(lambda read=read: read(path))


def test_an_archive_that_goes_on_in_another_file(tmp_path):
    path = tmp_path / "w.pth"
    write_pickle(path)
    content = bytearray(path.read_bytes())
    locator = content.index(b"PK\x06\x07")
    content[locator + 4] = 5  # the number of the disk
    path.write_bytes(content)
    assert "copy it again" in refusal(path)
    with pytest.raises(RequestError, match="cut off"):
        inspect(path)


def assert_read_or_refused(read):
    """Assert that reading succeeds or ends in a RequestError; any other error fails the test."""
    refusal = None
    try:
        read()
    except RequestError as error:
        refusal = error
    assert refusal is None or (refusal.message.endswith(".") and refusal.fix)


VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 10**7),
        st.floats(),
        st.sampled_from(["vit", "gelu", "relu", "24", "ViTForImageClassification"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("012a"), inner, max_size=3)
    ),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("vit")
    config = transformers.ViTConfig(**HF_SIZES)
    transformers.ViTForImageClassification(config).save_pretrained(path)
    return path, json.loads((path / "config.json").read_text())


@FUZZ
@given(data=st.data())
def test_any_value_in_a_config(folder, data):
    path, config = folder
    keys = [*config, "vision_config", "label_names", "label_descriptions", "pretrained_cfg"]
    keys += ["model_args", "architecture"]
    changes = data.draw(st.dictionaries(st.sampled_from(keys), VALUES, min_size=1, max_size=3))
    (path / "config.json").write_text(json.dumps(config | changes))
    assert_read_or_refused(lambda: load(weights=path))
    (path / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "\x00", '{"a": 1'])
def test_text_that_is_no_json(folder, text):
    path, config = folder
    (path / "config.json").write_text(text)
    message = refusal(path)
    (path / "config.json").write_text(json.dumps(config))
    assert "config.json can't be read" in message


@pytest.mark.parametrize("value", [3, ["a"], None, {}])
def test_a_weight_map_of_something_else(tmp_path, value):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"w": value}}))
    assert "no weight_map of names to files" in refusal(index)


def test_a_shard_that_lacks_what_the_index_promises(tmp_path):
    save_file(STATE, tmp_path / "a.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    names = dict.fromkeys(STATE, "a.safetensors")
    index.write_text(json.dumps({"weight_map": names}))
    load_file(tmp_path)
    index.write_text(json.dumps({"weight_map": names | {"blocks.2.norm1.bias": "a.safetensors"}}))
    assert "lists 1 tensors that its files do not hold: blocks.2.norm1.bias" in refusal(index)


HEAD = STATE["head.weight"]
ODD_TENSORS = {
    "sparse": (HEAD.to_sparse(), "head.weight is sparse or quantized"),
    "meta": (HEAD.to("meta"), "head.weight has a shape but no values"),
    "NaN": (torch.full_like(HEAD, torch.nan), "head.weight holds NaN or infinite"),
    "infinite": (torch.full_like(HEAD, torch.inf), "holds NaN or infinite numbers"),
    "too large": (torch.full_like(HEAD, 1e300, dtype=torch.float64), "holds NaN or infinite"),
    "whole": (HEAD.to(torch.int32), "is int32, not floating point"),
    "no axes": (torch.zeros(()), "w.pth"),
}


@pytest.mark.parametrize(("tensor", "message"), ODD_TENSORS.values(), ids=ODD_TENSORS.keys())
def test_tensors_of_other_kinds(tmp_path, tensor, message):
    torch.save({**STATE, "head.weight": tensor}, tmp_path / "w.pth")
    assert message in refusal(tmp_path / "w.pth")


def test_parts_of_a_fused_layer_in_mixed_types(tmp_path):
    model = transformers.ViTForImageClassification(transformers.ViTConfig(**HF_SIZES))
    whole = model.state_dict()
    state = {n: t.to(torch.float8_e4m3fn) if "q_proj" in n else t for n, t in whole.items()}
    torch.save(state, tmp_path / "w.pth")
    assert load_file(tmp_path / "w.pth").provenance.weights_from == "w.pth, float8_e4m3fn widened"
    state = {n: t.to(torch.int8) if "q_proj" in n else t for n, t in whole.items()}
    torch.save(state, tmp_path / "w.pth")
    assert "is int8, not floating point" in refusal(tmp_path / "w.pth")


UNSAFE = {
    "a module": (nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
    "a class of PIL": (Image.Resampling, "PIL.Image.Resampling"),
    "a function": (os.system, "posix.system"),
}


@pytest.mark.parametrize(("value", "name"), UNSAFE.values(), ids=UNSAFE.keys())
def test_pickles_of_more_than_tensors(tmp_path, value, name):
    torch.save({"model": STATE, "args": value}, tmp_path / "w.pth")
    message = refusal(tmp_path / "w.pth")
    assert f"holds more than tensors, {name}" in message
    assert "save the tensors alone" in message


@pytest.mark.parametrize("name", ["ViT-B-16.pt", "vit.torchscript"])
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_torchscript_is_read_and_not_opened(tmp_path, monkeypatch, name):
    path = tmp_path / name
    linear = nn.Linear(2, 2)
    torch.jit.script(nn.Sequential(linear, nn.BatchNorm1d(2))).save(path)
    monkeypatch.setattr(torch.jit, "load", lambda *_: pytest.fail("it was loaded"))
    tensors = read_checkpoint(path).tensors
    assert tensors.keys() >= {"0.weight", "0.bias", "1.running_mean", "1.num_batches_tracked"}
    assert tensors["0.weight"].equal(linear.weight)
    assert "belong to no known family" in refusal(path)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_torchscript_without_names_is_refused(tmp_path):
    frozen = torch.jit.freeze(torch.jit.script(nn.Linear(2, 2).eval()))
    frozen.save(tmp_path / "w.pt")
    assert "have lost their names" in refusal(tmp_path / "w.pt")


@pytest.mark.parametrize(
    "content", [{}, {"model": {}}, {"model": torch.ones(2), "epoch": 3}, [STATE], None]
)
def test_no_tensors(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    assert "(, …)" not in refusal(tmp_path / "w.pth")


def test_other_keys_are_named(tmp_path):
    torch.save({"student": STATE, "teacher": dict(STATE)}, tmp_path / "w.pth")
    assert "under 'student.', 'teacher.'" in refusal(tmp_path / "w.pth")
    torch.save({"epoch": 3, "history": [1.0]}, tmp_path / "w.pth")
    assert "it holds epoch, history." in refusal(tmp_path / "w.pth")


def test_a_pickle_that_holds_itself(tmp_path):
    endless = {}
    endless["model"] = endless
    torch.save(endless, tmp_path / "w.pth")
    assert "does not hold a state dict" in refusal(tmp_path / "w.pth")


def test_averaged_weights_win_and_are_recorded(tmp_path):
    other = {name: tensor + 1 for name, tensor in STATE.items()}
    for average, plain in (("model_ema", "model"), ("state_dict_ema", "state_dict")):
        torch.save({plain: other, average: STATE, "epoch": 3}, tmp_path / "w.pth")
        model = load_file(tmp_path / "w.pth")
        assert model.provenance.weights_from == f"w.pth[{average}]"
        assert model.vit.head.classifier.weight.equal(HEAD)
    torch.save({"model": {"state_dict": STATE}}, tmp_path / "w.pth")
    assert load_file(tmp_path / "w.pth").provenance.weights_from == "w.pth[model][state_dict]"


def test_doubles_are_narrowed(tmp_path):
    torch.save({n: t.double() for n, t in STATE.items()}, tmp_path / "w.pth")
    assert load_file(tmp_path / "w.pth").provenance.weights_from == "w.pth, float64 narrowed"


def test_the_command_refuses_it_too(tmp_path):
    path = tmp_path / "w.pth"
    write_pickle(path)
    path.write_bytes(path.read_bytes()[:-2000])
    for command in (["onnx", "--out", tmp_path / "o.onnx", "--weights"], ["inspect"]):
        assert str(path) in expect_error(*command, path, exit_code=2)
