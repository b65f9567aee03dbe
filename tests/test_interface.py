"""Files with --preprocess graph and --head: they take images of any size and return classes."""

import json
import subprocess
import sys

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from PIL import Image
from support import FASHION, ROOT, expect_error, mark_slow_except, run, run_json

from vit_export.backends.open import open_artifact, read_manifest
from vit_export.graph.heads import append_head

IMAGE = FASHION / "images" / "bag_1.png"
PHOTO = ROOT / "vit_export" / "data" / "photos" / "cat.png"
WEIGHTS = FASHION / "fashion_mnist.safetensors"
OPTIONS = ("--preprocess", "graph", "--head", "top5")


@pytest.fixture(scope="module", params=["onnx", "torchscript"])
def target(request):
    return request.param


@pytest.fixture(scope="module")
def top5(tmp_path_factory, target):
    """A file that takes images and returns the best classes."""
    out = tmp_path_factory.mktemp("top5") / "f"
    document = run_json(target, "--model", "fashion_mnist", *OPTIONS, "--out", out)
    assert document["verdict"]["status"] == "PROVEN"
    return out


def test_heights_and_widths_are_proven(top5):
    recipes = read_manifest(open_artifact(top5), top5).reference.recipes
    sizes = {recipe.rpartition(":")[2] for recipe in recipes if "x" in recipe}
    assert len(sizes) >= 3
    assert run_json("validate", top5, "-q")["batches"] == [1, 2, 3, 16]


def test_a_file_takes_an_image_and_returns_classes(top5):
    with Image.open(IMAGE) as image:
        pixels = np.asarray(image.convert("L"))[None, ..., None]
    answer = open_artifact(top5).run(pixels)
    assert answer.shape == (1, 5, 2)
    labels = (FASHION / "labels.txt").read_text().split("\n")
    assert labels[int(answer[0, 0, 0])] == "Bag"
    assert 0.5 < answer[0, 0, 1] <= 1


def test_outputs_have_names_and_types(top5, target):
    pixels = np.zeros((1, 40, 30, 1), np.uint8)
    if target == "onnx":
        session = onnxruntime.InferenceSession(str(top5))
        classes, scores = session.run(["classes", "scores"], {"image": pixels})
    else:
        with pytest.deprecated_call():
            module = torch.jit.load(str(top5))
        classes, scores = (output.numpy() for output in module(torch.from_numpy(pixels)))
    assert (classes.dtype, classes.shape, scores.dtype) == (np.int64, (1, 5), np.float32)


def test_a_head_needs_logits_of_known_shape():
    logits = ir.Value(name="logits", type=ir.TensorType(ir.DataType.FLOAT))
    graph = ir.Graph([logits], [logits], nodes=[], opset_imports={"": 20}, name="g")
    with pytest.raises(ValueError, match="shape of its output"):
        append_head(ir.Model(graph, ir_version=10), "top5")


def test_predict_gives_the_same_classes(top5, fashion, target):
    images = sorted((FASHION / "images").glob("*.png"))[:4]
    plain = run_json("predict", fashion.path[target], PHOTO, *images)
    predictions = run_json("predict", top5, PHOTO, *images)
    for prediction, expected in zip(predictions, plain, strict=True):
        assert prediction["classes"] == expected["classes"]
        assert prediction["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-5)


def test_images_of_the_user_measure_its_accuracy(top5):
    report = run_json("validate", top5, "--images", FASHION / "images", "-q", "--weights", WEIGHTS)
    assert report["images"]["agreement"]["hits"] == 20
    assert report["images"]["worst_snr_db"] > 110


def test_more_classes_than_it_returns_are_refused(top5):
    assert "answers 5 classes" in expect_error("predict", top5, IMAGE, "--top", "6", exit_code=2)


@pytest.mark.parametrize("command", ["locate", "bench"])
def test_commands_that_need_the_plain_model_say_so(top5, command):
    assert "--preprocess none" in expect_error(command, top5, exit_code=2)


def test_softmax_returns_probabilities(tmp_path, target):
    out = tmp_path / "f"
    run(target, "--model", "fashion_mnist", "--head", "softmax", "--out", out, "-q")
    probabilities = open_artifact(out).run(np.zeros((2, 1, 28, 28), np.float32))
    assert probabilities.shape == (2, 10)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)
    assert run_json("predict", out, IMAGE)[0]["classes"][0] == "Bag"


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_file_of_fewer_bits_preprocesses_too(tmp_path, precision):
    """There the normalization is not folded into the patch convolution, which would leave fp16."""
    out = tmp_path / "f.onnx"
    document = run_json(
        "onnx", "--model", "fashion_mnist", *OPTIONS, "--precision", precision, "--out", out
    )
    assert document["verdict"]["status"] == "PROVEN"


@pytest.mark.parametrize("batch", mark_slow_except(["1", "2", "2:3:4"], "2:3:4"))
def test_a_file_of_a_batch_size_preprocesses_too(tmp_path, tiny_export, target, batch):
    out = tmp_path / "f"
    tiny_export(target, out, "--preprocess", "graph", "--batch", batch)
    run("validate", out, "-q")
    assert len(run_json("predict", out, PHOTO)[0]["classes"]) == 5


REFUSALS = {
    "nearest": (("--interpolation", "nearest"), "nearest"),
    "no classes": (("--outputs", "features", "--head", "softmax"), "no classes"),
    "TensorRT": (("--for", "tensorrt"), "64-bit floats"),
    "io-fp16": (("--precision", "fp16", "--io-fp16"), "--io-fp16 means nothing"),
}


@pytest.mark.parametrize(("options", "message"), REFUSALS.values(), ids=REFUSALS)
def test_impossible_requests_are_refused(tmp_path, options, message):
    command = ("onnx", "--model", "fashion_mnist", "--preprocess", "graph", "--out", tmp_path / "f")
    assert message in expect_error(*command, *options, exit_code=2)
    assert list(tmp_path.iterdir()) == []


def test_a_model_without_preprocessing_is_refused(tmp_path):
    toml = tmp_path / "m.toml"
    toml.write_text("[vit]\nimage_size = 16\npatch_size = 8\nwidth = 24\ndepth = 1\nheads = 3\n")
    command = ("onnx", "--model", toml, "--preprocess", "graph", "--out", tmp_path / "f")
    assert "no preprocessing" in expect_error(*command, exit_code=2)


def test_a_changed_bias_is_rejected(tmp_path):
    """The proof can fail: the bias with the folded mean is off by one percent."""
    out = tmp_path / "f.onnx"
    run("onnx", "--model", "fashion_mnist", *OPTIONS, "--out", out, "-q")
    model = onnx.load(out)
    (bias,) = (one for one in model.graph.initializer if one.name.endswith("of_levels_2"))
    values = onnx.numpy_helper.to_array(bias) * np.float32(1.01)
    bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
    onnx.save(model, out)
    document = json.loads(run("validate", out, "--json", "-q", exit_code=4).stdout)
    assert document["verdict"]["status"] == "REJECTED"


def test_a_device_needs_no_torch(tmp_path):
    out = tmp_path / "f.onnx"
    run("onnx", "--model", "fashion_mnist", *OPTIONS, "--out", out, "-q")
    script = (
        "import sys, vit_export; vit_export.predict(sys.argv[1], [sys.argv[2]]);"
        "assert vit_export.validate(sys.argv[1]).status == 'PROVEN';"
        "assert not {'torch', 'onnx'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script, out, IMAGE], check=False)
    assert done.returncode == 0
