"""A wrong file never takes the name OUT: five mistakes of a builder, in each backend."""

import json
import sys

import pytest
from support import TAMPERING, mark_slow_except, run

import vit_export

WRONG = {
    "tampered_weight": "off by",
    "shifted_batch": "row 0 of a batch of 2",
    "scaled_logit": "off by",
    "one_nan": "1 of 5 values are NaN or infinite",
    "baked_batch": "does not run",
}


def tampering_command(kind, target, model, out):
    return (TAMPERING, kind, target, "--model", model, "--out", out)


@pytest.mark.parametrize("target", mark_slow_except(["onnx", "torchscript"], "onnx"))
@pytest.mark.parametrize(("kind", "problem"), WRONG.items(), ids=WRONG.keys())
def test_a_wrong_file_is_rejected(tmp_path, tiny_toml, kind, problem, target):
    out = tmp_path / "out.file"
    out.write_text("an earlier result")
    command = tampering_command(kind, target, tiny_toml, out)
    done = run(*command, "-q", "--json", command=sys.executable, exit_code=4)
    printed = json.loads(done.stdout)
    assert printed["exit_code"] == 4
    assert "out.file.rejected" in printed["fix"]
    problems = printed["verdict"]["problems"]
    assert any(problem in one for one in problems), problems
    assert out.read_text() == "an earlier result"
    report = json.loads((tmp_path / "out.file.rejected.report.json").read_text())
    assert report == printed["verdict"]
    # the kept file is the wrong one itself: it fails again
    assert vit_export.validate(tmp_path / "out.file.rejected").status == "REJECTED"


def test_without_a_mistake_the_same_script_is_proven(tmp_path, tiny_toml):
    out = tmp_path / "out.onnx"
    run(*tampering_command("nothing", "onnx", tiny_toml, out), "-q", command=sys.executable)
    assert out.exists()
