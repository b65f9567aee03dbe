"""A wrong file never takes the name OUT: five mistakes of a builder, in each backend."""

import json
import sys

import pytest
import tampering
from support import TAMPERING, run

import vit_export
from vit_export.backends import BACKENDS
from vit_export.graph import make_graph as capturing

WRONG = {
    "tampered_weight": "off by",
    "shifted_batch": "row 0 of a batch of 2",
    "scaled_logit": "off by",
    "one_nan": "1 of 5 values are NaN or infinite",
    "baked_batch": "does not run",
}


@pytest.fixture
def tamper(monkeypatch):
    """`tamper(kind)`: every builder makes this mistake, until the test ends."""

    def install(kind):
        monkeypatch.setattr(capturing, "capture", capturing.capture)  # what is set is restored
        for name, backend in BACKENDS.items():
            monkeypatch.setitem(BACKENDS, name, backend)
        tampering.install(kind)

    return install


@pytest.mark.parametrize("target", ["onnx", "torchscript"])
@pytest.mark.parametrize(("kind", "problem"), WRONG.items(), ids=WRONG.keys())
def test_a_wrong_file_is_rejected(tiny_toml, tamper, kind, problem, target):
    out = tiny_toml.with_name("out.file")
    out.write_text("an earlier result")
    tamper(kind)
    done = run(target, "--model", tiny_toml, "--out", out, "-q", "--json", exit_code=4)
    printed = json.loads(done.stdout)
    assert printed["exit_code"] == 4
    assert "out.file.rejected" in printed["fix"]
    problems = printed["verdict"]["problems"]
    assert any(problem in one for one in problems), problems
    assert out.read_text() == "an earlier result"
    report = json.loads(out.with_name("out.file.rejected.report.json").read_text())
    assert report == printed["verdict"]
    # the kept file is the wrong one itself: it fails again
    assert vit_export.validate(out.with_name("out.file.rejected")).status == "REJECTED"


def test_without_a_mistake_the_same_script_is_proven(tmp_path, tiny_toml):
    out = tmp_path / "out.pt"
    words = ("nothing", "torchscript", "--model", tiny_toml, "--out", out, "-q")
    run(TAMPERING, *words, command=sys.executable)
    assert out.exists()


def test_a_rejection_that_cannot_be_kept_is_a_rejection(tiny_toml, tamper):
    out = tiny_toml.with_name("out.onnx")
    rejected = out.with_name("out.onnx.rejected")
    rejected.mkdir()
    tamper("tampered_weight")
    with pytest.raises(vit_export.ProofError) as error:
        vit_export.onnx(str(tiny_toml), out)
    assert f"move what is called {rejected} away" in error.value.fix
    assert not out.exists()
    assert not list(rejected.iterdir())
