"""Manifests whose fields have values of every type.

Every command ends in a documented exit code, and an error is a sentence with its `Fix:`.
"""

import json
import random
from pathlib import Path

import onnx
import pytest
from damage import list_paths
from edited_files import KEY
from support import expect_error, run
from test_foreign_files import COMMANDS

DOCUMENTED = {0, 2, 3, 4}
DELETED = object()
VALUES = (
    *(DELETED, None, True, 0, -1, 1.5, 10**30, 1e308, float("nan"), "", "text", "\x1b[2J"),
    *([], [1], ["a"], [[]], {}, {"a": 1}, {"kind": "torch"}),
)
SPECIMENS = {
    "labels are numbers": ("labels", list(range(10))),
    "labels are too few": ("labels", ["a", "b"]),
    "labels are text": ("labels", "abcdefghij"),
    "a tolerance that is a list": ("tolerance", []),
    "versions that are a list": ("versions", ["1"]),
    "an unknown precision": ("precision", "bogus"),
    "a head of another kind": ("settings", {"head": []}),
    "an engine without a kind": ("engine", {"version": "1"}),
}


@pytest.fixture
def artifact(fashion) -> Path:
    return fashion.path["onnx"]


@pytest.fixture
def manifest(artifact) -> str:
    (text,) = [one.value for one in onnx.load(artifact).metadata_props if one.key == KEY]
    return text


def write(artifact: Path, out: Path, text: str) -> Path:
    """A copy of the artifact with another manifest."""
    model = onnx.load(artifact)
    for entry in model.metadata_props:
        if entry.key == KEY:
            entry.value = text
    onnx.save(model, out)
    return out


def check_end(command: str, path: Path, folder: Path, what: object) -> None:
    done = run(command, path, *COMMANDS[command], exit_code=None, cwd=folder)
    assert done.returncode in DOCUMENTED, (what, done.stderr)
    if done.returncode:
        starts = [line.partition(":")[0] for line in done.stderr.splitlines()]
        assert (starts.count("Error"), starts.count("Fix")) == (1, 1), (what, done.stderr)
    assert "\x1b[2J" not in done.stdout + done.stderr, what


def check_edit(artifact, manifest, out, commands, edit) -> None:
    path, value = edit
    values = json.loads(manifest)
    inner, (*outer, last) = values, path
    for key in outer:
        inner = inner[key]
    if value is DELETED:
        del inner[last]
    else:
        inner[last] = value
    write(artifact, out, json.dumps(values))
    for command in commands:
        check_end(command, out, out.parent, (command, path, value))


@pytest.mark.parametrize(("field", "value"), SPECIMENS.values(), ids=SPECIMENS)
def test_a_broken_field(artifact, manifest, tmp_path, field, value):
    edit = (field,), value
    check_edit(artifact, manifest, tmp_path / "odd.onnx", ("inspect", "predict"), edit)


@pytest.mark.parametrize(
    "seed", [0, *[pytest.param(i, marks=pytest.mark.slow) for i in range(1, 4)]]
)
def test_fields_of_every_type(artifact, manifest, tmp_path, seed):
    draw = random.Random(seed)  # noqa: S311 no secret
    paths = list(list_paths(json.loads(manifest)))
    for _ in range(60 if seed else 6):
        commands = draw.sample(sorted(COMMANDS), 2)
        edit = draw.choice(paths), draw.choice(VALUES)
        check_edit(artifact, manifest, tmp_path / "odd.onnx", commands, edit)


def test_labels_of_a_manifest_are_lines_of_text(artifact, manifest, tmp_path):
    values = json.loads(manifest)
    values["labels"][3] = "a\x1b[2J"
    path = write(artifact, tmp_path / "odd.onnx", json.dumps(values))
    for command, words in COMMANDS.items():
        message = expect_error(command, path, *words, exit_code=2, cwd=tmp_path)
        assert "the name of class 3, 'a\\x1b[2J', holds U+001B" in message


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "9" * 5000, "[]", "\x00", ""])
def test_a_manifest_that_is_no_object(artifact, tmp_path, text):
    path = write(artifact, tmp_path / "odd.onnx", text)
    check_end("inspect", path, tmp_path, text[:9])
    check_end("predict", path, tmp_path, text[:9])
