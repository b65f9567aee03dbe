"""`scripts/gpu_proof`: its parts in order, its limits, and that each of its checks can fail."""

import json
import os
import subprocess
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from gpu_parts import __main__ as command_line
from gpu_parts import folder as folders
from gpu_parts import runner, sessions, speed, torchscript
from gpu_parts.context import CPU, Answer, Context
from gpu_parts.folder import Contents, Model
from gpu_parts.parts import PARTS, Part
from gpu_parts.results import Row, has_failed, read_rows, render_page, write_row
from support import FASHION, ROOT, tiny_spec

import vit_export
from vit_export import RequestError
from vit_export.backends.tensorrt import sidecar
from vit_export.backends.torchscript.archive import read_manifest_json
from vit_export.model.vit.state import random_vit

SCRIPT = ROOT / "scripts" / "gpu_proof"
FASHION_MODEL = Model("fashion", "fashion_mnist", preprocesses=False, travels=True)
ORDER = "folder doctor device make torchscript tampered speed refusals rtx tensorrt"
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")


@pytest.fixture
def prepared(tmp_path, fashion) -> Path:
    """A folder with one TorchScript file, as `prepare` makes it, but for the wheel."""
    folder = tmp_path / "folder"
    (folder / "files").mkdir(parents=True)
    source = fashion.path["torchscript"]
    (folder / "files" / "fashion.pt").write_bytes(source.read_bytes())
    (folder / "files" / "fashion.json").write_text(str(read_manifest_json(source)))
    folders.write_contents(folder, [FASHION_MODEL], {}, has_engines=False)
    return folder


@pytest.fixture
def context(prepared, tmp_path) -> Context:
    (tmp_path / "work").mkdir()
    contents = folders.read_contents(prepared)
    return Context(folder=prepared, work=tmp_path / "work", device=CPU, contents=contents)


@pytest.fixture
def run_parts(prepared, tmp_path, monkeypatch):
    """`run_parts(*parts)`: whether all went well, and the JSON as it was after each part."""
    after: list[dict] = []
    write = runner.write_results

    def write_and_read(*arguments):
        write(*arguments)
        after.append(json.loads((prepared / "results.json").read_text()))

    path = os.pathsep.join(map(str, (ROOT / "scripts", ROOT)))
    environment = {**os.environ, "PYTHONPATH": path}
    monkeypatch.setattr(runner, "_install", lambda *_, **_named: environment)
    monkeypatch.setattr(runner, "write_results", write_and_read)

    def run(*parts, **options):
        work = tmp_path / "work"
        work.mkdir(exist_ok=True)
        passed = runner.run(prepared, work, is_dry=True, parts=parts, say=lambda _: None, **options)
        return passed, after

    return run


def outcomes(document):
    return [(row["part"], row["outcome"]) for row in document["rows"]]


def test_the_parts_stand_in_their_order():
    assert " ".join(part.name for part in PARTS) == ORDER
    for part in PARTS:
        module, _, function = part.function.partition(":")
        assert callable(getattr(import_module(f"gpu_parts.{module}"), function))


def test_a_failing_part_stops_no_other_and_the_results_are_whole_after_each(run_parts):
    check = Part("folder", "machine:check_folder", 30)
    broken = Part("broken", "machine:no_such_function", 30)
    slow = Part("slow", "torchscript:prove_files", 0.3)
    passed, after = run_parts(check, broken, slow, check)
    assert not passed
    assert [len(one["rows"]) for one in after] == [1, 2, 3, 5]  # a part reads all its rows
    assert outcomes(after[-1])[:3] == [("folder", "ok"), ("broken", "FAILED"), ("slow", "FAILED")]
    assert "it was stopped after 0 s" in after[-1]["rows"][2]["facts"]
    assert after[-1]["machine"]["run"] == "dry, on the CPU"


def test_no_part_starts_when_the_time_is_over(run_parts):
    passed, after = run_parts(PARTS[0], PARTS[1], budget_s=1)
    assert passed
    assert outcomes(after[-1]) == [("folder", "skipped"), ("doctor", "skipped")]
    assert "time of the run was over" in after[-1]["rows"][0]["facts"]


def test_a_longer_run_gives_its_parts_longer(run_parts, monkeypatch):
    limits = []
    monkeypatch.setattr(runner, "run_part", lambda part, *_: limits.append(part.limit_s) or [])
    for budget_s in (100, 480, 960):
        run_parts(Part("part", "machine:run_doctor", 30), budget_s=budget_s)
    assert limits == [30, 30, 60]


def test_a_damaged_folder_fails_its_first_part(prepared, run_parts):
    file = prepared / "files" / "fashion.pt"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    (prepared / "files" / "fashion.json").unlink()
    passed, after = run_parts(PARTS[0])
    assert not passed
    facts = after[-1]["rows"][0]["facts"]
    assert "fashion.pt has another size or SHA-256" in facts
    assert "fashion.json is missing" in facts


def test_a_file_that_should_be_rejected_and_is_not_fails_its_part(context, monkeypatch):
    monkeypatch.setattr(torchscript, "TAMPERING", {"nothing": 0.0})
    monkeypatch.setattr(torchscript, "call", lambda *_: Answer(0, '{"status": "PROVEN"}', ""))
    assert [row.outcome for row in torchscript.reject_tampered(context)] == ["FAILED"] * 2


@pytest.mark.parametrize(("change", "error"), [(1.0, "off by"), (float("nan"), "NaN")])
def test_one_number_of_a_file_is_changed(fashion, tmp_path, change, error):
    path = tmp_path / "tampered.pt"
    torchscript.tamper(fashion.path["torchscript"], path, change)
    verdict = torchscript.prove(path, sessions.DeviceSession(path, CPU))
    assert not verdict.accepted
    assert error in str(verdict.against_eager[0].problem)


def test_a_wrong_answer_fails_its_part(context, monkeypatch):
    answer = sessions.DeviceSession.run
    monkeypatch.setattr(torchscript, "ARITHMETIC", ("fp32",))
    monkeypatch.setattr(sessions.DeviceSession, "run", lambda *words: answer(*words) + 0.5)
    rows = list(torchscript.prove_files(context))
    assert [row.outcome for row in rows] == ["FAILED", "skipped"]
    assert "off by" in rows[0].facts


def test_the_weights_of_a_file_are_constants(fashion):
    """`half()` leaves them; `convert_constants` turns them into fp16."""
    path = fashion.path["torchscript"]
    session = sessions.DeviceSession(path, CPU)
    images = torch.zeros(2, 1, 28, 28)
    session.module.half()
    assert session.answer(images).dtype == torch.float32
    half = sessions.DeviceSession(path, CPU, "half")
    assert half.answer(half.place(images.numpy())).dtype == torch.float16
    assert half.run(np.zeros((2, 1, 28, 28), np.float32)).dtype == np.float32


def test_a_file_is_made_again_from_its_manifest(tmp_path):
    """The same weights, or none: another seed is refused by their SHA-256."""
    model = Model("tiny", "tiny", preprocesses=False, travels=False)
    source = tmp_path / "source.pt"
    vit_export.torchscript(random_vit(tiny_spec(), 0), source)
    manifest = json.loads(str(read_manifest_json(source)))
    manifest["weights_from"] = "random, seed 0"
    (tmp_path / "files").mkdir()
    text = tmp_path / "files" / "tiny.json"
    text.write_text(json.dumps(manifest))
    contents = Contents(models=(model,), has_engines=False, files={}, made={"tiny": "0"})
    context = Context(folder=tmp_path, work=tmp_path, device=CPU, contents=contents)
    row = torchscript.make_file(context, model)
    assert "another one in torch" in row.facts
    path = tmp_path / "tiny.pt"
    assert torchscript.prove(path, sessions.DeviceSession(path, CPU)).accepted
    contents.made["tiny"] = folders.measure(path)[1]
    assert "the same byte for byte" in torchscript.make_file(context, model).facts
    text.write_text(json.dumps(manifest | {"weights_from": "random, seed 1"}))
    with pytest.raises(RequestError, match="does not hold the weights"):
        torchscript.make_file(context, model)


def test_a_file_that_fails_stops_no_other(context, monkeypatch):
    monkeypatch.setattr(torchscript, "DeviceSession", None)
    rows = list(torchscript.prove_files(context))
    assert [row.outcome for row in rows] == ["FAILED", "FAILED", "FAILED", "skipped"]
    assert "TypeError" in rows[0].facts
    monkeypatch.setattr(speed, "_measure_batch", None)
    assert [row.outcome for row in speed.measure_speed(context)] == ["skipped", "skipped", "FAILED"]
    monkeypatch.setattr(speed, "ENOUGH_S", -1)
    assert [row.outcome for row in speed.measure_speed(context)] == ["skipped"] * 3


def test_large_files_travel_in_parts(tmp_path):
    source, parts = tmp_path / "library.whl", tmp_path / "parts"
    source.write_bytes(bytes(range(256)) * 10)
    parts.mkdir()
    assert len(folders.split(source, parts, 1000)) == 3
    assert max(part.stat().st_size for part in parts.iterdir()) == 1000
    (tmp_path / "whole").mkdir()
    (whole,) = folders.join_parts(parts, tmp_path / "whole")
    assert whole.read_bytes() == source.read_bytes()


def test_rows_that_were_written_stay(tmp_path):
    path = tmp_path / "rows.jsonl"
    write_row(path, Row(case="a | b", outcome="ok", part="p"))
    with path.open("a") as file:
        file.write('{"case": "torn')
    (row,) = read_rows(path)
    assert row.case == "a | b"
    assert "| p | a \\| b | ok |" in render_page({"card": "none"}, [row])
    assert not has_failed([row])
    assert has_failed([row, Row(case="c", outcome="FAILED")])


@pytest.mark.parametrize(
    ("words", "ending"),
    [
        (("run", "nowhere"), (2, "does not say what is in the folder")),
        (("run", "prepared"), (3, "No GPU is here")),
        (("prepare", "full"), (2, "does not say what is in the folder")),
        (("run",), (2, "give `prepare FOLDER`")),
        (("prepare", "a", "--local"), (2, "give `prepare FOLDER`")),
        (("prepare", "a", "--models", "fashio"), (2, "there is no fashio")),
    ],
)
def test_a_run_that_makes_no_sense(prepared, monkeypatch, capsys, words, ending):
    code, message = ending
    monkeypatch.chdir(prepared.parent)
    prepared.rename("prepared")
    Path("full").mkdir()
    Path("full", "mine.txt").write_text("mine")
    monkeypatch.setattr(runner, "has_gpu", lambda: False)
    try:
        assert command_line.main(list(words)) == code
    except SystemExit as error:
        assert error.code == code  # noqa: PT017 argparse ends so, and the others return
    assert message in capsys.readouterr().err
    assert Path("full", "mine.txt").read_text() == "mine"


def test_the_graph_beside_an_engine_is_read_on_a_device_without_onnx(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    (tmp_path / "f.engine.onnx").write_bytes(b"graph")
    names = [one.name for one in sidecar.list_companions(tmp_path / "f.engine")]
    assert names == ["f.engine.json", "f.engine.onnx"]


@pytest.mark.slow
def test_a_dry_run(tmp_path):
    """The same files, the same parts in the same order; what needs CUDA is skipped by name."""

    def call(*words):
        done = subprocess.run(
            [SCRIPT, *map(str, words)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    folder = tmp_path / "folder"
    assert "MB in" in call("prepare", folder, "--models", "fashion")
    sizes = {one.name: one.stat().st_size for one in folder.rglob("*") if one.is_file()}
    assert max(sizes.values()) < folders.MAX_PART_BYTES
    assert len(list((folder / "images").iterdir())) == len(list((FASHION / "images").iterdir()))
    call("run", folder, "--dry-run")
    document = json.loads((folder / "results.json").read_text())
    rows = document["rows"]
    assert " ".join(dict.fromkeys(row["part"] for row in rows)) == ORDER
    skipped = {row["case"] for row in rows if row["outcome"] == "skipped"}
    assert {"torch.compile", "the GPU's clock", "engine in fp16"} <= skipped
    proven = [row for row in rows if "PROVEN" in row["facts"]]
    assert [row["case"] for row in proven] == [
        "validate fashion.pt",
        *("fashion, fp32", "fashion, autocast", "fashion, half"),
    ]
    assert "FAILED" not in (folder / "results.md").read_text()
