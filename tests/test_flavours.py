"""The default file means the same in every runtime at hand; each flavour opens in its own."""

import numpy as np
import onnx
import openvino
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from support import SEED_STYLE, built_by_tensorrt, refused, run, tiny_spec

import vit_export
from vit_export.backends.open import open_artifact, read_manifest
from vit_export.model.vit.state import random_vit
from vit_export.validation.sample_set import remake_sample_set

ASKED = [
    ({}, "portable"),
    (SEED_STYLE, "portable"),
    ({"mlp": "quick_gelu"}, "portable"),
    ({}, "openvino"),
    ({}, "tensorrt"),
]


def in_openvino(path, images):
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    return compiled(images)[0]


def in_reference(path, images):
    return ReferenceEvaluator(str(path)).run(None, {"image": images})[0]


@pytest.mark.parametrize(("changes", "flavour"), ASKED)
def test_the_portable_graph_answers_alike_elsewhere(tmp_path, changes, flavour):
    spec = tiny_spec(**changes)
    vit = random_vit(spec, 0)
    path = tmp_path / "f.onnx"
    vit_export.onnx((spec, vit.state_dict()), path, flavour=flavour)
    images = np.random.default_rng(0).standard_normal((3, 3, 16, 24), np.float32)
    with torch.no_grad():
        expected = vit(torch.from_numpy(images)).numpy()
    for answers in (in_openvino, in_reference):
        np.testing.assert_allclose(answers(path, images), expected, rtol=1e-4, atol=1e-5)
    assert {entry.domain for entry in onnx.load(path).opset_import} == {""}


def test_the_trained_model_in_openvino(fashion):
    path = fashion.path["onnx"]
    manifest = read_manifest(open_artifact(path), path)
    samples = remake_sample_set(manifest).inputs
    found = in_openvino(path, samples)
    np.testing.assert_allclose(found, manifest.reference.answers, rtol=1e-4, atol=1e-4)


def test_the_flavour_of_onnxruntime(tmp_path):
    out = tmp_path / "f.onnx"
    run("onnx", "--model", "fashion_mnist", "--for", "onnxruntime", "--out", out, "-q")
    found = {node.op_type for node in onnx.load(out).graph.node}
    assert "MultiHeadAttention" in found
    assert "Softmax" not in found
    assert read_manifest(open_artifact(out), out).settings["flavour"] == "onnxruntime"


@pytest.mark.parametrize("changes", [{}, SEED_STYLE, {"pool": "map"}, {"mlp": "quick_gelu"}])
def test_the_flavour_of_tensorrt_is_built_by_it(tmp_path, changes):
    """TensorRT for RTX builds an engine without a GPU: every node is one that it knows."""
    spec, path = tiny_spec(**changes), tmp_path / "f.onnx"
    vit_export.onnx((spec, random_vit(spec, 0).state_dict()), path, flavour="tensorrt")
    assert built_by_tensorrt(path, (3, 16, 24)) > 1000


def test_a_flavour_that_is_not_there(tmp_path):
    told = refused("onnx", "--for", "tensorflow", "--out", tmp_path / "f.onnx", exit_code=2)
    assert "tensorrt" in told
    with pytest.raises(vit_export.RequestError, match="flavour is 'ort'"):
        vit_export.onnx("fashion_mnist", tmp_path / "f.onnx", flavour="ort")
