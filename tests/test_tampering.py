"""A file that is not the model never takes the name OUT: five ways to be wrong, in each target."""

import json
import sys

import pytest
from support import TAMPERING, rarely, run

import vit_export

WRONG = {
    "tampered_weight": "off by",
    "shifted_batch": "row 0 of a batch of 2",
    "scaled_logit": "off by",
    "one_nan": "1 of 5 values are NaN or infinite",
    "baked_batch": "does not run",
}


def tampering(kind, target, model, out):
    return (TAMPERING, kind, target, "--model", model, "--out", out)


@pytest.mark.parametrize("target", rarely(["onnx", "torchscript"], "onnx"))
@pytest.mark.parametrize(("kind", "problem"), WRONG.items(), ids=WRONG.keys())
def test_is_rejected(tmp_path, tiny_toml, kind, problem, target):
    out = tmp_path / "out.file"
    out.write_text("an earlier result")
    command = tampering(kind, target, tiny_toml, out)
    done = run(*command, "-q", "--json", command=sys.executable, exit_code=4)
    told = json.loads(done.stdout)
    assert told["exit_code"] == 4
    assert "out.file.rejected" in told["fix"]
    assert any(problem in one for one in told["verdict"]["problems"]), told["verdict"]["problems"]
    assert out.read_text() == "an earlier result"
    report = json.loads((tmp_path / "out.file.rejected.report.json").read_text())
    assert report == told["verdict"]
    # what was kept is the wrong file itself: it fails again
    assert vit_export.validate(tmp_path / "out.file.rejected").status == "REJECTED"


def test_the_harness_itself_changes_nothing(tmp_path, tiny_toml):
    """Without tampering the same way through the same script is proven."""
    out = tmp_path / "out.onnx"
    run(*tampering("nothing", "onnx", tiny_toml, out), "-q", command=sys.executable)
    assert out.exists()
