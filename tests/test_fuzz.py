"""Damaged artifacts, presets and checkpoints end in a documented exit code, in every command."""

import os
import random
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import numpy as np
import onnx
import onnxruntime
import pytest
from fuzzing import Child
from onnx import helper, numpy_helper
from specimens import (
    EXPORTS,
    KINDS,
    Kind,
    Specimens,
    find_specimens,
    onnx_bytes,
    onnx_fields,
    preset,
    write_specimens,
)
from support import FASHION, expect_error

IMAGE = FASHION / "images" / "bag_1.png"
PLAIN = ("a-plain.onnx", "plain.pt")
BROKEN = """
import os, sys, vit_export.api as api
api.models, api.doctor, api.summary = os.abort, lambda: 1 / 0, lambda *_, **__: sys.exit(1)
"""


def list_commands(path: Path, files: Specimens) -> list[tuple[object, ...]]:
    """Every command that takes an artifact, a checkpoint or a plan."""
    out = ("--out", "out.onnx", "-q")
    return [
        ("inspect", path),
        ("predict", path, IMAGE),
        ("validate", path, "-q"),
        ("validate", path, "-q", "--weights", files.weights[0]),
        ("validate", files.onnx[0], "-q", "--weights", path),
        ("locate", path, "-q"),
        ("cpp", path, "--out", "project", "--force", "-q"),
        ("summary", "--weights", path),
        ("onnx", "--weights", path, *out),
        ("onnx", "--plan", path, "--precision", "auto", "--model", files.preset, *out),
    ]


def list_preset_commands(path: Path, files: Specimens) -> list[tuple[object, ...]]:
    return [
        ("summary", "--model", path),
        ("onnx", "--model", path, "--out", "out.onnx", "-q"),
        ("torchscript", "--model", path, "--out", "out.pt", "-q"),
        ("inspect", files.weights[0], "--model", path),
        ("validate", files.onnx[0], "-q", "--model", path),
    ]


@pytest.fixture(scope="module")
def child() -> Iterator[Child]:
    with Child() as child:
        yield child


@pytest.fixture(scope="module")
def plain(shared_folder) -> Specimens:
    folder = shared_folder("fuzz-plain", lambda folder: write_specimens(folder, PLAIN))
    return find_specimens(folder)


@pytest.fixture(scope="module")
def every(shared_folder) -> Specimens:
    folder = shared_folder("fuzz-every", lambda folder: write_specimens(folder, EXPORTS))
    return find_specimens(folder)


def fuzz(child: Child, files: Specimens, folder: Path, kind: Kind, seeds: range) -> None:
    """Damage a file with each seed, and run a few commands on it."""
    for seed in seeds:
        draw = random.Random(seed)  # noqa: S311 no secret
        work = folder / f"{seed}"
        work.mkdir()
        path = kind(files, work / "x", draw)
        commands = (list_preset_commands if kind is preset else list_commands)(path, files)
        for words in draw.sample(commands, 2):
            ended = child.run(words, work)
            assert not ended.problem, (kind.__name__, seed, words, ended.problem)
        shutil.rmtree(work)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_damaged_file_ends_in_a_sentence(child, plain, tmp_path, kind):
    fuzz(child, plain, tmp_path, kind, range(2))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_many_damaged_files_end_in_a_sentence(child, every, tmp_path, kind):
    fuzz(child, every, tmp_path, kind, range(1000, 1040))


@pytest.mark.slow
def test_what_is_proven_answers_like_the_intact_file(child, every, tmp_path):
    """ONNX Runtime alone compares them, on an input that no proof has."""
    inputs = np.random.default_rng(0).standard_normal((1, 3, 16, 16), np.float32)
    (intact,), files = answer(every.onnx[0], inputs), replace(every, onnx=every.onnx[:1])
    codes = Counter()
    for seed in range(120):
        draw = random.Random(seed)  # noqa: S311 no secret
        path = draw.choice((onnx_bytes, onnx_fields))(files, tmp_path / "x", draw)
        ended = child.run(("validate", path, "-q"), tmp_path)
        codes[ended.code] += 1
        if ended.code == 0:
            (damaged,) = answer(path, inputs)
            assert np.abs(damaged - intact).max() <= 1e-4 * np.abs(intact).max(), seed
    assert min(codes[0], codes[4]) >= 5, codes


def answer(path: Path, inputs: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: inputs})


@pytest.mark.slow
def test_what_no_command_may_do_is_noticed(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(BROKEN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    with Child() as child:
        assert "ended with -6" in child.run(["models"], tmp_path).problem
        assert not child.run(["inspect", "none.onnx"], tmp_path).problem
        assert "ZeroDivisionError" in child.run(["doctor"], tmp_path).problem
        assert "exit 1" in child.run(["summary"], tmp_path).problem


UNRULY = {
    "another shape": ("Transpose", [], "blocks.0.mlp answers (24, 1), and that of its model"),
    "an index out of range": ("Gather", ["far"], "indices element out of data bounds"),
}
"""A node that `locate` runs as the last one of a module, and no other command runs."""


@pytest.mark.parametrize(("operator", "inputs", "message"), UNRULY.values(), ids=UNRULY)
def test_a_module_that_cannot_be_compared(plain, tmp_path, operator, inputs, message):
    model = onnx.load(plain.onnx[0])
    (last,) = [one.output[0] for one in model.graph.node if one.name.endswith("contract/Gemm")]
    name = "blocks.0.mlp.contract/extra"
    model.graph.node.append(helper.make_node(operator, [last, *inputs], ["extra"], name))
    model.graph.initializer.append(numpy_helper.from_array(np.array([10**6]), "far"))
    onnx.save(model, tmp_path / "x.onnx")
    assert message in expect_error("locate", tmp_path / "x.onnx", "-q", exit_code=4)


LOCATE = ("locate", "-q")
PROGRAMS = {
    "no forward": (("predict", IMAGE), (rb"  def forward[^\0]*", b""), (4, "attribute 'forward'")),
    "another operator": (LOCATE, (rb"torch\.add", b"torch.sub"), (2, "has other layers")),
    "another shape": (LOCATE, (rb"\[-1, 24\]", b"[-1, 7]"), (4, "is invalid for input of")),
}


@pytest.mark.parametrize(("words", "change", "expected"), PROGRAMS.values(), ids=PROGRAMS)
def test_a_program_that_does_not_run(plain, tmp_path, words, change, expected):
    (command, *options), (code, message) = words, expected
    path = tmp_path / "x.pt"
    with ZipFile(plain.archives[0]) as source, ZipFile(path, "w") as copy:
        for one in source.infolist():
            content = source.read(one)
            is_code = one.filename.endswith(".py")
            copy.writestr(ZipInfo(one.filename), re.sub(*change, content) if is_code else content)
    assert message in expect_error(command, path, *options, exit_code=code)


@pytest.mark.slow
def test_bench_names_a_file_that_does_not_run(plain, tmp_path):
    model = onnx.load(plain.onnx[0])
    last = model.graph.node[-1]
    far = numpy_helper.from_array(np.array([10**6]), "far")
    model.graph.initializer.append(far)
    gather = helper.make_node("Gather", ["inner", "far"], [last.output[0]], axis=1)
    last.output[0] = "inner"
    model.graph.node.append(gather)
    onnx.save(model, tmp_path / "x.onnx")
    message = expect_error("bench", tmp_path / "x.onnx", "-q", exit_code=4)
    assert "x.onnx can't take part" in message
    assert "vit-export inspect says" in message


@pytest.mark.parametrize("old", [b'"labels"', b"\x05image"])
def test_text_that_is_not_utf8(plain, tmp_path, old):
    path = tmp_path / "x.onnx"
    path.write_bytes(plain.onnx[0].read_bytes().replace(old, old[:2] + b"\xff" + old[3:]))
    for words in (("predict", path, IMAGE), ("validate", path, "-q"), ("locate", path, "-q")):
        assert "no intact ONNX file" in expect_error(*words, exit_code=2)


def test_an_exported_file_is_no_checkpoint(plain):
    for path in (plain.onnx[0], plain.archives[0]):
        message = expect_error("summary", "--weights", path, exit_code=2)
        assert "give the checkpoint that" in message
