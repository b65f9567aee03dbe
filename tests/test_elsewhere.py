"""A file is proven in each runtime that it is for, from the first answer on."""

import sys
from dataclasses import replace

import numpy as np
import openvino
import pytest
from support import run

import vit_export
from vit_export.backends import BACKENDS
from vit_export.backends.onnx.backend import ONNX
from vit_export.backends.onnx.openvino_session import OpenVinoSession
from vit_export.backends.onnx.session import OnnxSession
from vit_export.backends.records import Runtime
from vit_export.backends.session import RunFailedError
from vit_export.core.errors import RequestError
from vit_export.validation.verdict import RejectedError


class ForgetfulSession(OnnxSession):
    """A runtime whose first answer after each larger batch is what lay in memory before.

    OpenVINO 2026.4 did so with an output of an If that two nodes read.
    """

    largest = 0

    def __init__(self, path, threads=None):
        super().__init__(path, threads)
        self.runtime = "Forgetful 1.0 (CPU)"

    def run(self, images):
        answers, is_new = super().run(images), len(images) > self.largest
        self.largest = max(self.largest, len(images))
        return np.zeros_like(answers) if is_new else answers


@pytest.fixture
def for_runtime(monkeypatch):
    """`for_runtime(open)`: onnx files are for one more runtime, which opens them so."""

    def install(open_file):
        other = Runtime(name="Other", open=open_file)
        backend = replace(ONNX, other_runtimes=lambda _: (other,))
        monkeypatch.setitem(BACKENDS, "onnx", backend)

    return install


@pytest.fixture(scope="module")
def for_openvino(tmp_path_factory):
    """The trained model for OpenVINO, which resizes images by itself."""
    out = tmp_path_factory.mktemp("openvino") / "f.onnx"
    words = ("--preprocess", "graph", "--for", "openvino")
    return out, run("onnx", "--model", "fashion_mnist", *words, "--out", out).stdout


def test_a_file_for_openvino_is_proven_in_openvino(for_openvino, tmp_path):
    out, report = for_openvino
    assert "PROVEN" in report
    assert "The same answers in OpenVINO" in report
    page = tmp_path / "page.html"
    (elsewhere,) = vit_export.validate(out, report=page).elsewhere
    assert f"<h2>{elsewhere.runtime}" in page.read_text()
    assert elsewhere.runtime.startswith("OpenVINO 20")
    assert elsewhere.status == "PROVEN"
    assert len(elsewhere.against_eager) > 20


def test_a_file_for_openvino_is_right_in_its_f16_mode(for_openvino, fashion_subset):
    """The default of Intel GPUs: weights of 22 bits do not fit, and whole numbers stay exact."""
    path, images = for_openvino[0], fashion_subset[0][:64, :, :, None]
    settings = {"INFERENCE_PRECISION_HINT": "f16"}
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    for batch in (images[:1], images[:4], images):
        error, expected = compiled(batch)[0], OnnxSession(path).run(batch)
        error -= expected
        assert np.square(expected).sum(1).min() > 10**5 * np.square(error).sum(1).max()


def test_a_runtime_that_is_not_installed_is_named(for_openvino, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    verdict = vit_export.validate(for_openvino[0])
    assert verdict.status == "PROVEN"
    assert "not run in OpenVINO: pip install openvino" in verdict.caveats
    assert not verdict.elsewhere
    report = run("validate", for_openvino[0]).stdout
    assert "PROVEN (not run in OpenVINO: pip install openvino" in report


def test_a_file_for_tensorrt_says_that_it_did_not_run_there(tiny_toml, tmp_path):
    built = vit_export.onnx(tiny_toml, tmp_path / "f.onnx", flavour="tensorrt")
    assert built.verdict.caveats[0].startswith("not run in TensorRT: vit-export trt")


def test_a_portable_file_is_proven_in_one_runtime(tiny_toml, tmp_path):
    verdict = vit_export.onnx(tiny_toml, tmp_path / "f.onnx").verdict
    assert not verdict.elsewhere
    assert not [caveat for caveat in verdict.caveats if caveat.startswith("not run")]


@pytest.mark.parametrize("is_other", [False, True])
def test_a_wrong_first_answer_rejects_a_file(
    tiny_toml, tmp_path, for_runtime, monkeypatch, is_other
):
    """After it is opened, and after each larger batch; there is no run to warm up."""
    if is_other:
        for_runtime(ForgetfulSession)
    else:
        monkeypatch.setitem(BACKENDS, "onnx", replace(ONNX, open=ForgetfulSession))
    out = tmp_path / "f.onnx"
    with pytest.raises(RejectedError) as caught:
        vit_export.onnx(tiny_toml, out)
    verdict = caught.value.verdict
    wrong = (verdict.elsewhere[0] if is_other else verdict).against_eager
    assert {one.batch for one in wrong if not one.passed} == set(verdict.batches)
    assert all(problem.startswith("in Forgetful") for problem in verdict.problems) == is_other
    assert ("locate" in caught.value.fix) != is_other
    assert not out.exists()
    assert out.with_name("f.onnx.rejected").exists()


def test_a_file_that_another_runtime_refuses_is_rejected(tiny_toml, tmp_path, for_runtime):
    def refuse(*_):
        raise RequestError("Other 1.0 has no operator Gelu.", "")

    for_runtime(refuse)
    with pytest.raises(RejectedError, match="no operator Gelu"):
        vit_export.onnx(tiny_toml, tmp_path / "f.onnx")


def test_openvino_says_what_it_cannot_open_or_run(for_openvino, tmp_path):
    damaged = tmp_path / "f.onnx"
    damaged.write_bytes(for_openvino[0].read_bytes()[:1000])
    with pytest.raises(RequestError, match=r"by OpenVINO 20.* can't be parsed"):
        OpenVinoSession(damaged)
    session = OpenVinoSession(for_openvino[0], threads=1)
    with pytest.raises(RunFailedError, match="incompatible"):
        session.run(np.zeros((1, 28), np.uint8))


def test_answers_of_openvino_outlast_its_next_run(for_openvino):
    session = OpenVinoSession(for_openvino[0])
    images = np.random.default_rng(0).integers(0, 256, (2, 28, 28, 1), np.uint8)
    first = session.run(images)
    kept = first.copy()
    session.run(255 - images)
    np.testing.assert_array_equal(first, kept)
