"""OUT appears whole or not at all, whatever is killed, full, locked or in the way."""

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vit_export.core.errors import BuildError, RequestError
from vit_export.core.folder_staging import stage_folder
from vit_export.core.output_path import check_writable
from vit_export.core.staging import rejected_names, stage_file

DATA = "out.onnx.{}.data"
OLD, NEW = DATA.format("0" * 12), DATA.format("1" * 12)


@pytest.fixture
def out(tmp_path):
    """An earlier OUT with its data file."""
    path = tmp_path / "out.onnx"
    path.write_text("old, see " + OLD)
    (tmp_path / OLD).write_text("old weights")
    return path


def write(stage, content="new, see " + NEW, data=NEW):
    stage.file.write_text(content)
    if data:
        (stage.folder / data).write_text("new weights")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_committed_file_takes_its_name(out):
    with stage_file(out) as stage:
        write(stage)
        stage.commit()
    assert out.read_text().startswith("new")
    assert names(out.parent) == ["out.onnx", NEW]


def test_a_name_with_brackets_is_no_pattern(tmp_path):
    out = tmp_path / "k[1].onnx"
    with stage_file(out) as stage:
        write(stage, data=f"{out.name}.{'1' * 12}.data")
        stage.commit()
    assert names(tmp_path) == [out.name, f"{out.name}.{'1' * 12}.data"]


def test_weights_of_the_file_before_it_go(out):
    with stage_file(out) as stage:
        write(stage, data=None)
        stage.commit()
    assert names(out.parent) == ["out.onnx"]


def test_the_same_weights_stay(out):
    with stage_file(out) as stage:
        write(stage, data=OLD)
        stage.commit()
    assert names(out.parent) == ["out.onnx", OLD]


def test_a_file_that_is_neither_committed_nor_rejected_leaves_no_trace(out):
    with stage_file(out) as stage:
        write(stage)
    assert names(out.parent) == ["out.onnx", OLD]
    assert out.read_text().startswith("old")


def test_a_rejected_file_stands_beside_out(out):
    with stage_file(out) as stage:
        write(stage)
        kept = stage.reject("why")
    assert names(out.parent) == [
        "out.onnx",
        OLD,
        NEW,
        "out.onnx.rejected",
        "out.onnx.rejected.report.json",
    ]
    assert out.read_text().startswith("old")
    assert kept.read_text().startswith("new")
    assert rejected_names(out)[1].read_text() == "why"


def test_a_committed_file_replaces_a_rejected_one(out):
    with stage_file(out) as stage:
        write(stage)
        stage.reject("why")
    with stage_file(out) as stage:
        write(stage)
        stage.commit()
    assert names(out.parent) == ["out.onnx", NEW]


GRAPH_DATA = "out.onnx.onnx.{}.data"
"""Weights of a companion, by the hash in their name."""


def test_weights_are_moved_before_what_refers_to_them(out, monkeypatch):
    """Also those of a companion."""
    moved, replace = [], Path.replace
    monkeypatch.setattr(Path, "replace", lambda a, b: moved.append(a.name) or replace(a, b))
    with stage_file(out) as stage:
        write(stage)
        for name in ("out.onnx.json", "out.onnx.onnx", GRAPH_DATA.format("2" * 12)):
            (stage.folder / name).write_text("new")
        stage.commit()
    assert moved[:2] == [NEW, GRAPH_DATA.format("2" * 12)]
    assert moved[-1] == "out.onnx"


def test_companions_of_the_file_before_it_go(out):
    old, new = (GRAPH_DATA.format(digit * 12) for digit in "34")
    for name in ("out.onnx.onnx", old, new):
        (out.parent / name).write_text("former")
    with stage_file(out) as stage:
        write(stage, data=None)
        (stage.folder / "out.onnx.onnx").write_text("new")
        (stage.folder / new).write_text("new")
        stage.commit([out.parent / name for name in ("out.onnx.onnx", old, new)])
    assert names(out.parent) == ["out.onnx", "out.onnx.onnx", new]
    assert (out.parent / "out.onnx.onnx").read_text() == "new"


def test_a_rejected_file_keeps_its_companions(out):
    with stage_file(out) as stage:
        write(stage, data=None)
        (stage.folder / "out.onnx.json").write_text("manifest")
        kept = stage.reject("why")
    assert kept.with_name("out.onnx.rejected.json").read_text() == "manifest"
    assert rejected_names(out)[1].read_text() == "why"
    with stage_file(out) as stage:
        write(stage, data=None)
        stage.commit([kept.with_name("out.onnx.rejected.json")])
    assert names(out.parent) == ["out.onnx"]


def test_an_exception_leaves_no_trace(out):
    def interrupted():
        with stage_file(out) as stage:
            write(stage)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert names(out.parent) == ["out.onnx", OLD]


def test_files_with_similar_names_stay(out):
    for name in ("out.onnx.data", "other.onnx.000000000000.data", "out.onnx.bak"):
        (out.parent / name).write_text("mine")
    with stage_file(out) as stage:
        write(stage, data=None)
        stage.commit()
    assert len(names(out.parent)) == 4


# A process that is killed before its n-th system call on the name or existence of a file.
KILLED = textwrap.dedent("""
    import os, signal, sys
    from pathlib import Path
    from vit_export.core.staging import stage_file
    out, wanted, data = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    steps = 0
    def counted(call):
        def step(*a, **k):
            global steps
            steps += 1
            if steps == wanted:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*a, **k)
        return step
    for name in ("mkdir", "open", "replace", "rename", "unlink", "rmdir", "close"):
        setattr(os, name, counted(getattr(os, name)))
    with stage_file(out) as stage:
        stage.file.write_text("new, see " + data)
        (stage.folder / data).write_text("new weights")
        stage.commit()
    print(steps)
""")


def killed_at(step, out):
    return subprocess.run(
        [sys.executable, "-c", KILLED, str(out), str(step), NEW],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_folder_of_a_killed_run_is_deleted(tmp_path):
    """The folder of a running one stays."""
    leftover = tmp_path / ".app.abcd1234.partial"
    (leftover / "golden").mkdir(parents=True)
    out = tmp_path / "app"
    with stage_folder(out, force=False) as running:
        assert not leftover.exists()
        with stage_folder(out, force=False) as other:
            assert running.is_dir()
            (other / "vit.hpp").write_text("whole")
    assert [path.name for path in tmp_path.rglob("*")] == ["app", "vit.hpp"]


def test_a_run_may_be_killed_between_any_two_steps(tmp_path):
    steps = 0
    while True:
        steps += 1
        folder = tmp_path / str(steps)
        folder.mkdir()
        out = folder / "out.onnx"
        out.write_text("old, see " + OLD)
        (folder / OLD).write_text("old weights")
        done = killed_at(steps, out)
        content = out.read_text()
        data = folder / content.rpartition(" ")[2]
        assert data.read_text() == f"{content[:3]} weights"
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        with stage_file(out) as stage:  # the next run deletes what the killed one left
            write(stage)
            stage.commit()
        assert names(folder) == ["out.onnx", NEW]
    assert steps > 8


def test_the_folder_of_another_run_is_not_deleted(out):
    with stage_file(out) as first:
        write(first, content="first, see " + NEW)
        with stage_file(out) as second:
            write(second, content="second")
            second.commit()
        first.commit()
    assert out.read_text().startswith("first")


@settings(deadline=None)  # a busy machine may take longer than usual
@given(st.permutations(["first commits", "second commits", "first ends", "second ends"]))
def test_two_runs_never_mix(tmp_path_factory, order):
    out = tmp_path_factory.mktemp("two") / "out.onnx"
    runs = {name: stage_file(out) for name in ("first", "second")}
    stages = {name: run.__enter__() for name, run in runs.items()}
    for name, stage in stages.items():
        write(stage, content=f"{name}, see {NEW}", data=NEW)
    ended = set()
    for step in order:
        name, _, verb = step.partition(" ")
        if verb == "ends":
            runs[name].__exit__(None, None, None)
            ended.add(name)
        elif name not in ended:
            stages[name].commit()
            assert out.read_text().startswith(name)
            assert (out.parent / NEW).exists()
    assert set(names(out.parent)) <= {"out.onnx", NEW}


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        ("missing/out.onnx", RequestError, "does not exist"),
        (".", RequestError, "is a folder"),
    ],
)
def test_places_where_no_file_can_be(tmp_path, out, error, message):
    with pytest.raises(error, match=message):
        check_writable(tmp_path / out)


def test_a_folder_that_cannot_be_written(unwritable):
    with pytest.raises(BuildError, match="can't be written"), stage_file(unwritable / "out.onnx"):
        pass
