"""Weights come from safe files only, fit exactly or are refused, and have one hash."""

import os
import pickle
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file
from support import SEED_STYLE, tiny_spec

from vit_export import RequestError
from vit_export.checkpoints.files import read_state_dict
from vit_export.checkpoints.from_state_dict import load_vit
from vit_export.model.hash import hash_tensors
from vit_export.model.vit.state import random_vit

SPEC = tiny_spec(**SEED_STYLE)


@pytest.fixture
def state():
    return random_vit(SPEC, 0).state_dict()


def test_every_file_form_gives_the_same_weights(tmp_path, state):
    save_file(state, tmp_path / "w.safetensors")
    torch.save(state, tmp_path / "w.pth")
    hashes = {
        hash_tensors(load_vit(SPEC, read_state_dict(tmp_path / name), name))
        for name in ("w.safetensors", "w.pth")
    }
    assert hashes == {hash_tensors(random_vit(SPEC, 0))}


READ_AND_CUT = """
import os, sys
from pathlib import Path
from vit_export.checkpoints.files import read_state_dict

path = Path(sys.argv[1])
tensors = read_state_dict(path)
os.truncate(path, 0)
print(sum(tensor.double().abs().sum().item() for tensor in tensors.values()))
"""


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_a_file_that_is_cut_off_after_it_was_read_harms_nothing(tmp_path, state, name):
    """A mapped file would end the process."""
    path = tmp_path / name
    save = save_file if name.endswith(".safetensors") else torch.save
    save(state, path)
    words = [sys.executable, "-c", READ_AND_CUT, path]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    expected = sum(tensor.double().abs().sum().item() for tensor in state.values())
    assert float(done.stdout) == pytest.approx(expected)


def test_another_seed_is_another_hash():
    assert hash_tensors(random_vit(SPEC, 0)) != hash_tensors(random_vit(SPEC, 1))


def test_random_weights_leave_the_callers_randomness_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    random_vit(SPEC, 0)
    assert torch.rand(3).equal(expected)


def test_half_precision_checkpoints_are_widened(state):
    vit = load_vit(SPEC, {name: tensor.half() for name, tensor in state.items()}, "here")
    assert {p.dtype for p in vit.parameters()} == {torch.float32}


def misfit(state, kind):
    changed = dict(state)
    if kind == "missing":
        del changed["head.classifier.bias"]
    elif kind == "unexpected":
        changed["mask_token"] = torch.zeros(1)
    else:
        changed["head.classifier.weight"] = torch.zeros(9, 24)
    return changed


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "missing: head.classifier.bias"),
        ("unexpected", "unexpected: mask_token"),
        ("mis-shaped", "mis-shaped: head.classifier.weight (9, 24) instead of (5, 24)"),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(state, kind, message):
    with pytest.raises(RequestError) as refusal:
        load_vit(SPEC, misfit(state, kind), "w.pth")
    assert message in refusal.value.message


def test_weights_of_no_known_family_are_refused_with_the_families():
    with pytest.raises(RequestError) as refusal:
        load_vit(SPEC, {"conv1.weight": torch.zeros(1)}, "resnet.pth")
    assert "conv1.weight" in refusal.value.message
    assert "einops" in refusal.value.fix


class Malicious:
    """Unpickling it creates a folder, in place of anything worse."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def write_malicious(path):
    torch.save({"w": Malicious(path.parent / "ran")}, path)


def write_plain_pickle(path):
    path.write_bytes(pickle.dumps({"w": Malicious(path.parent / "ran")}))


def write_module(path):
    torch.save(random_vit(SPEC, 0), path)


def write_number(path):
    torch.save(3, path)


def write_half(path):
    torch.save({"w": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:2000])


def write_half_safetensors(path):
    save_file({"w": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:2000])


BAD = {
    "malicious": ("w.pth", write_malicious),
    "a plain pickle": ("w.bin", write_plain_pickle),
    "a whole module": ("w.pt", write_module),
    "a number": ("w.pt", write_number),
    "cut off": ("w.pt", write_half),
    "safetensors cut off": ("w.safetensors", write_half_safetensors),
    "text": ("w.safetensors", lambda path: path.write_text("weights")),
    "text as a pickle": ("w.pt", lambda path: path.write_text("weights")),
    "empty": ("w.pt", lambda path: path.write_bytes(b"")),
    "folder": ("w.pt", lambda path: path.mkdir()),
    "missing": ("w.pt", lambda _: None),
}


@pytest.mark.parametrize(("name", "write"), BAD.values(), ids=BAD.keys())
def test_bad_files_are_refused_and_execute_nothing(tmp_path, name, write):
    path = tmp_path / name
    write(path)
    with pytest.raises(RequestError) as refusal:
        read_state_dict(path)
    assert str(path) in refusal.value.message
    assert not (tmp_path / "ran").exists()
