"""The portable file means the same in every runtime here; a file `--for` a runtime opens in it."""

import numpy as np
import onnx
import openvino
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from support import SEED_STYLE, build_with_tensorrt, expect_error, run, tiny_spec

import vit_export
from vit_export.backends.open import open_artifact, read_manifest
from vit_export.model.vit.state import random_vit
from vit_export.validation.sample_set import remake_sample_set

CASES = [
    ({}, "portable"),
    (SEED_STYLE, "portable"),
    ({"mlp": "quick_gelu"}, "portable"),
    ({}, "openvino"),
    ({}, "tensorrt"),
]


def run_in_openvino(path, images):
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    return compiled(images)[0]


def run_in_reference(path, images):
    return ReferenceEvaluator(str(path)).run(None, {"image": images})[0]


@pytest.mark.parametrize(("changes", "flavour"), CASES)
def test_standard_graphs_give_the_same_answers_elsewhere(tmp_path, changes, flavour):
    spec = tiny_spec(**changes)
    vit = random_vit(spec, 0)
    path = tmp_path / "f.onnx"
    vit_export.onnx((spec, vit.state_dict()), path, flavour=flavour)
    images = np.random.default_rng(0).standard_normal((3, 3, 16, 24), np.float32)
    with torch.no_grad():
        expected = vit(torch.from_numpy(images)).numpy()
    for run_elsewhere in (run_in_openvino, run_in_reference):
        np.testing.assert_allclose(run_elsewhere(path, images), expected, rtol=1e-4, atol=1e-5)
    assert {entry.domain for entry in onnx.load(path).opset_import} == {""}


def test_the_trained_model_gives_the_same_answers_in_openvino(fashion):
    path = fashion.path["onnx"]
    manifest = read_manifest(open_artifact(path), path)
    samples = remake_sample_set(manifest).inputs
    answers = run_in_openvino(path, samples)
    np.testing.assert_allclose(answers, manifest.reference.answers, rtol=1e-4, atol=1e-4)


def test_the_first_answers_of_a_file_that_resizes_are_right_in_openvino(tmp_path):
    """After it is opened, and after each larger batch."""
    path = tmp_path / "f.onnx"
    vit_export.onnx("fashion_mnist", path, preprocess="graph")
    right, settings = open_artifact(path), {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    for seed, batch in enumerate((1, 4, 2, 16)):
        images = np.random.default_rng(seed).integers(0, 256, (batch, 28, 28, 1), np.uint8)
        np.testing.assert_allclose(compiled(images)[0], right.run(images), rtol=0, atol=1e-4)


def test_lanczos_is_refused_in_a_file_for_openvino(tmp_path):
    words = ("--preprocess", "graph", "--interpolation", "lanczos", "--for", "openvino")
    message = expect_error(
        "onnx", "--model", "fashion_mnist", *words, "--out", tmp_path / "f.onnx", exit_code=2
    )
    assert "64-bit floats" in message
    assert "--interpolation bicubic" in message


def test_a_file_for_onnxruntime_has_its_attention(tmp_path):
    out = tmp_path / "f.onnx"
    run("onnx", "--model", "fashion_mnist", "--for", "onnxruntime", "--out", out, "-q")
    operators = {node.op_type for node in onnx.load(out).graph.node}
    assert "MultiHeadAttention" in operators
    assert "Softmax" not in operators
    assert read_manifest(open_artifact(out), out).settings.flavour == "onnxruntime"


@pytest.mark.parametrize("changes", [{}, SEED_STYLE, {"pool": "map"}, {"mlp": "quick_gelu"}])
def test_tensorrt_builds_a_file_for_tensorrt(tmp_path, changes):
    """TensorRT for RTX builds an engine without a GPU, so it knows every node."""
    spec, path = tiny_spec(**changes), tmp_path / "f.onnx"
    vit_export.onnx((spec, random_vit(spec, 0).state_dict()), path, flavour="tensorrt")
    assert build_with_tensorrt(path, (3, 16, 24)) > 1000


def test_an_unknown_runtime_is_refused(tmp_path):
    message = expect_error("onnx", "--for", "tensorflow", "--out", tmp_path / "f.onnx", exit_code=2)
    assert "tensorrt" in message
    with pytest.raises(vit_export.RequestError, match="flavour is 'ort'"):
        vit_export.onnx("fashion_mnist", tmp_path / "f.onnx", flavour="ort")
