"""An engine that carries code runs it where its user trusts the author, and nowhere else."""

import pickle
import zipfile
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from fake_cuda import FakeDriver
from fake_tensorrt import Library
from support import FASHION, expect_error
from test_trt_loading import ENGINE

from vit_export import RequestError, inspect, predict
from vit_export.backends.open import open_artifact, read_manifest
from vit_export.backends.tensorrt import backend as tensorrt
from vit_export.backends.tensorrt import session as session_module
from vit_export.backends.tensorrt.cuda import Device
from vit_export.backends.tensorrt.sidecar import hash_file, write_sidecar

IMAGE = FASHION / "images" / "bag_1.png"
COMMANDS = (("predict", IMAGE), ("validate", "-q"), ("bench", "-q"))
DANGERS = {
    "pickled Python": ({"kind": "torch"}, "torch.export.load"),
    "code for the CPU": ({"version_compatible": True}, "code for the CPU"),
}


@pytest.fixture
def write_engine(tmp_path, fashion):
    """`write_engine(**fields)`: an engine of a stranger's, whose sidecar has those fields."""
    graph = fashion.path["onnx"]
    manifest = replace(read_manifest(open_artifact(graph), graph), target="trt")

    def write_engine(**fields):
        path = tmp_path / "f.engine"
        if fields.get("kind") == "torch":
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("archive/data.pkl", pickle.dumps(exec))
        else:
            path.write_bytes(b"\0trt" + bytes(60))
        facts = {"sha256": hash_file(path), "size_bytes": path.stat().st_size}
        # no machine has this version, so that a trusted engine ends there
        write_sidecar(path, replace(manifest, engine=ENGINE | {"version": "9.9"} | facts | fields))
        return path

    return write_engine


@pytest.mark.parametrize(("fields", "code"), DANGERS.values(), ids=DANGERS)
@pytest.mark.parametrize("words", COMMANDS, ids=[name for name, _ in COMMANDS])
def test_code_in_an_engine_needs_trust(write_engine, monkeypatch, words, fields, code):
    command, option = words
    path = write_engine(**fields)
    monkeypatch.setattr(torch.export, "load", lambda *_: pytest.fail("it was loaded"))
    message = expect_error(command, path, option, exit_code=2)
    assert code in message
    assert "Fix: add --trust" in message
    message = expect_error(command, path, option, "--trust", exit_code=3)
    assert "9.9" in message


@pytest.mark.parametrize("command", [("locate", "-q"), ("cpp", "--out", "project")])
@pytest.mark.parametrize(("fields", "_"), DANGERS.values(), ids=DANGERS)
def test_commands_that_open_no_engine_ask_for_no_trust(write_engine, tmp_path, command, fields, _):
    words, path = command, write_engine(**fields)
    message = expect_error(words[0], path, *words[1:], exit_code=2, cwd=tmp_path)
    assert "trust" not in message


def test_an_engine_of_kernels_alone_needs_no_trust(write_engine):
    assert "9.9" in expect_error("predict", write_engine(), IMAGE, exit_code=3)


@pytest.mark.parametrize(("fields", "_"), DANGERS.values(), ids=DANGERS)
def test_an_engine_with_code_is_described_without_trust(write_engine, monkeypatch, fields, _):
    monkeypatch.setattr(tensorrt, "check_loads", lambda *_: pytest.fail("it was opened"))
    assert inspect(write_engine(**fields)).kind == "artifact"


def test_python_trusts_by_a_keyword(write_engine, monkeypatch):
    """A trusted program reaches torch.export.load, which unpickles it."""
    path = write_engine(kind="torch")
    loaded = []
    library = SimpleNamespace(__version__="9.9")
    monkeypatch.setattr(tensorrt, "check_loads", lambda *_: library)
    monkeypatch.setattr(torch.export, "load", loaded.append)
    with pytest.raises(RequestError, match="trust=True in Python"):
        predict(path, [IMAGE])
    assert loaded == []
    with pytest.raises(RequestError, match="can't be opened by torch-tensorrt"):
        predict(path, [IMAGE], trust=True)
    assert loaded == [str(path)]


@pytest.mark.parametrize("compatible", [False, True])
def test_host_code_is_allowed_for_engines_that_need_it(write_engine, monkeypatch, compatible):
    """An engine whose sidecar does not say so can't switch its code for the CPU on."""
    path, library, driver = write_engine(version_compatible=compatible), Library(), FakeDriver()
    runtime = SimpleNamespace(deserialize_cuda_engine=lambda _: None)
    library.Runtime = lambda _: runtime
    monkeypatch.setattr(session_module, "Device", lambda: Device(driver))
    monkeypatch.setattr(tensorrt, "check_loads", lambda *_: library)
    with pytest.raises(RequestError, match="can't be opened by tensorrt"):
        open_artifact(path, trust=True)
    assert getattr(runtime, "engine_host_code_allowed", False) is compatible
