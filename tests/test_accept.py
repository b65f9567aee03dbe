"""What becomes of a file that was just written: it is opened, proven, and kept or rejected."""

import shutil
from dataclasses import replace

import pytest

import vit_export
from vit_export.backends import BACKENDS
from vit_export.backends.onnx.backend import ONNX
from vit_export.backends.onnx.session import OnnxSession
from vit_export.backends.session import NotHereError
from vit_export.core.errors import BuildError, MissingError
from vit_export.validation.verdict import RejectedError

NOT_HERE = NotHereError("It will not load here: no GPU.", "take it where one is.", "no GPU")


@pytest.fixture
def backend_that_raises(monkeypatch):
    """`backend_that_raises(error)`: onnx files do not open here, but a copy that stands in does."""

    def install(error):
        def open_copy(path, threads):
            if path.name != "copy":
                raise error
            return OnnxSession(path, threads)

        def find_copy(path):
            return shutil.copy(path, path.with_name("copy"))

        backend = replace(ONNX, open=open_copy, stand_in=find_copy)
        monkeypatch.setitem(BACKENDS, "onnx", backend)

    return install


def test_a_stand_in_answers_for_a_file_that_runs_elsewhere(
    tmp_path, tiny_toml, backend_that_raises
):
    backend_that_raises(NOT_HERE)
    built = vit_export.onnx(tiny_toml, tmp_path / "f.onnx")
    assert (built.verdict.status, built.verdict.not_run) == ("BUILT, NOT RUN", "no GPU")
    assert [path.name for path in tmp_path.glob("f.onnx*")] == ["f.onnx"]


@pytest.mark.parametrize(
    "error",
    [
        MissingError("The GPU can't be used: cuStreamCreate answers 2.", ""),
        BuildError("The engine has no context for profile 0: why.", ""),
    ],
)
def test_a_file_that_fails_where_it_should_run_has_no_stand_in(
    tmp_path, tiny_toml, backend_that_raises, error
):
    backend_that_raises(error)
    with pytest.raises(type(error), match=error.message.partition(":")[0]):
        vit_export.onnx(tiny_toml, tmp_path / "f.onnx")
    assert not list(tmp_path.glob("f.onnx*"))


def test_what_a_backend_finds_wrong_with_an_open_file_rejects_it(tmp_path, tiny_toml, monkeypatch):
    def find_problem(session, manifest):
        return [f"{session.runtime} says it is not {manifest.precision}"]

    monkeypatch.setitem(BACKENDS, "onnx", replace(ONNX, check_built=find_problem))
    out = tmp_path / "f.onnx"
    with pytest.raises(RejectedError, match=r"ONNX Runtime .* says it is not fp32"):
        vit_export.onnx(tiny_toml, out)
    assert (tmp_path / "f.onnx.rejected").exists()
    assert not out.exists()
