"""Weights are read whatever their suffix; a file of another kind is said to be what it is."""

import io
import re
import zipfile

import numpy as np
import pytest
import torch
from foreign_names import as_openai
from safetensors.torch import save, save_file
from support import tiny_spec
from torch import nn

from vit_export import RequestError
from vit_export.checkpoints.files import read_checkpoint
from vit_export.checkpoints.hints import CheckpointHints
from vit_export.checkpoints.load import load
from vit_export.model.vit.state import random_vit

VIT = random_vit(tiny_spec(), 0)
STATE = VIT.state_dict()


def zip_up(**files):
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return memory.getvalue()


def save_npz():
    memory = io.BytesIO()
    np.savez(memory, kernel=np.ones(3))
    return memory.getvalue()


def save_program():
    memory = io.BytesIO()
    program = torch.export.export(nn.Linear(3, 2), (torch.ones(1, 3),))
    torch.export.save(program, memory)
    return memory.getvalue()


FOREIGN = {
    "npz": ("jax.npz", save_npz(), "NumPy"),
    "npz under another name": ("jax.bin", save_npz(), "NumPy"),
    "Flax": ("flax_model.msgpack", b"\x82\xa6params", "Flax"),
    "Keras": ("tf_model.h5", b"\x89HDF\r\n\x1a\n" + bytes(50), "HDF5"),
    "TensorFlow": ("model.ckpt.index", bytes(9), "TensorFlow"),
    "GGUF": ("model.gguf", b"GGUF" + bytes(40), "GGUF"),
    "ONNX": ("vit.onnx", b"\x08\x0a\x12" + bytes(30), "ONNX"),
    "Core ML": ("vit.mlmodel", b"\x08\x05\x12" + bytes(30), "Core ML"),
    "LiteRT": ("vit.bin", b"\x1c\x00\x00\x00TFL3" + bytes(30), "LiteRT"),
    "ExecuTorch": ("vit.pte", b"\x1c\x00\x00\x00ET12" + bytes(30), "ExecuTorch"),
    "torch.export": ("vit.pt2", save_program(), "torch.export"),
    "Git LFS": ("m.safetensors", b"version https://git-lfs.github.com/spec/v1\noid x\n", "git lfs"),
    "a web page": ("w.pth", b"<!DOCTYPE html><html></html>", "web page"),
    "gzip": ("w.pth.gz", b"\x1f\x8b\x08" + bytes(30), "unpack"),
    "another zip": ("w.zip", zip_up(a__model_dot_pth=b"x", readme=b"x"), "a/model.pth"),
    "text": ("weights", b"hello", "neither a safetensors file nor one of torch.save"),
    "empty": ("w.ckpt", b"", "is empty"),
}


@pytest.mark.parametrize(("name", "content", "words"), FOREIGN.values(), ids=FOREIGN)
def test_a_file_of_another_kind_is_said_to_be_that(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(RequestError) as refusal:
        read_checkpoint(path)
    text = str(refusal.value)
    assert str(path) in text
    assert words in text
    assert ("copy it again" in text) == (words == "is empty")


@pytest.mark.parametrize(
    ("name", "words"),
    [("saved_model.pb", "TensorFlow"), ("flax_model.msgpack", "Flax"), ("notes.txt", "no weights")],
)
def test_a_folder_of_another_kind_is_said_to_be_that(tmp_path, name, words):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(RequestError, match=words):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("name", ["w.bin", "w.pt", "weights", "w.safetensors"])
@pytest.mark.parametrize("content", ["safetensors", "torch", "old torch"])
def test_the_content_counts_and_not_the_suffix(tmp_path, name, content):
    path = tmp_path / name
    if content == "safetensors":
        save_file(STATE, path)
    else:
        torch.save(STATE, path, _use_new_zipfile_serialization=content == "torch")
    assert read_checkpoint(path).tensors.keys() == STATE.keys()


def test_a_safetensors_file_that_is_cut_off_says_so(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(save(STATE)[:-4])
    with pytest.raises(RequestError) as refusal:
        read_checkpoint(path)
    assert "not a whole safetensors file" in refusal.value.message
    assert "copy it again" in refusal.value.fix


@pytest.mark.parametrize(
    "name", ["open_clip_model.safetensors", "open_clip_pytorch_model.bin", "model.safetensors"]
)
def test_a_folder_of_open_clip(tmp_path, name):
    save_file(STATE, tmp_path / name)
    torch.save(STATE, tmp_path / "another.pth")
    assert read_checkpoint(tmp_path).tensors.keys() == STATE.keys()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("blocks.0.attention.qkv.SCB", "bitsandbytes"),
        ("blocks.0.attention.qkv.weight.absmax", "bitsandbytes"),
        ("blocks.0.attention.qkv.qweight", "GPTQ"),
        ("blocks.0.attention.qkv.weight_scale_inv", "with scales"),
        ("_flat_param", "FSDP"),
    ],
)
def test_weights_in_the_forms_of_other_libraries_are_named(tmp_path, name, words):
    torch.save({**STATE, name: torch.ones(3)}, tmp_path / "w.pth")
    with pytest.raises(RequestError, match=words):
        read_checkpoint(tmp_path / "w.pth")


def build_modules(state):
    """Return nested modules with these tensors, as in the object of a TorchScript archive."""
    root = nn.Module()
    for name, tensor in state.items():
        *path, last = name.split(".")
        module = root
        for word in path:
            if not hasattr(module, word):
                module.add_module(word, nn.Module())
            module = getattr(module, word)
        module.register_parameter(last, nn.Parameter(tensor))
    root.forward = lambda image: image
    return root


def write_program(path, state):
    torch.jit.trace(build_modules(state), torch.zeros(1)).save(path)


@pytest.fixture
def _no_program(monkeypatch):
    monkeypatch.setattr(torch.jit, "load", lambda *_: pytest.fail("the program was loaded"))


@pytest.mark.usefixtures("_no_program")
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_openai_s_own_file_of_clip(tmp_path):
    """It is a traced program in fp16, whose text tower and sizes stand beside the image tower."""
    vit = random_vit(tiny_spec(norm_before_blocks=True, projection=7, classes=None), 0)
    half = {name: tensor.half() for name, tensor in as_openai(vit.state_dict()).items()}
    text = {"token_embedding.weight": torch.ones(4, 3), "logit_scale": torch.ones(())}
    write_program(tmp_path / "ViT-B-16.pt", half | text)
    hints = CheckpointHints(heads=3, activation="quick_gelu", pool="token", trained_size="16x24")
    loaded = load(weights=tmp_path / "ViT-B-16.pt", hints=hints)
    assert loaded.provenance.weights_from == "ViT-B-16.pt, float16 widened"
    assert loaded.provenance.unused.keys() == text.keys()
    for name, tensor in vit.state_dict().items():
        assert loaded.vit.state_dict()[name].equal(tensor.half().float()), name


def rewrite(path, change, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path) as archive:
        records = {one.filename: archive.read(one) for one in archive.infolist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in change(records).items():
            archive.writestr(name, content)


def shorten_numbers(records):
    return {name: one[:-4] if "/data/" in name else one for name, one in records.items()}


def name_a_function(records):
    """A pickle that calls os.mkdir in place of making the first class."""
    return {
        name: re.sub(rb"c__torch__[\w.]*\n", b"cos\n", one, count=1)
        if name.endswith("/data.pkl")
        else one
        for name, one in records.items()
    }


def fill_the_pickle(records):
    return {
        name: one + bytes(5 << 20) if name.endswith("/data.pkl") else one
        for name, one in records.items()
    }


CRAFTED = {
    "numbers cut off": (shorten_numbers, zipfile.ZIP_STORED, "cut off, damaged"),
    "a function": (name_a_function, zipfile.ZIP_STORED, "holds more than tensors, (os|posix)"),
    "compressed numbers": (dict, zipfile.ZIP_DEFLATED, "is compressed"),
    "a large pickle": (fill_the_pickle, zipfile.ZIP_STORED, "4,194,304 bytes"),
}


@pytest.mark.usefixtures("_no_program")
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize(("change", "compression", "words"), CRAFTED.values(), ids=CRAFTED)
def test_crafted_programs_end_in_one_error(tmp_path, change, compression, words):
    path = tmp_path / "clip.pt"
    write_program(path, STATE)
    rewrite(path, change, compression)
    with pytest.raises(RequestError, match=words):
        read_checkpoint(path)
