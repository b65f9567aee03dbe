"""A file that takes images of any size resizes them as Pillow does, to the level."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import PIL
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from support import FASHION, ROOT, rarely, refused, run, run_json

from vit_export.artifact.outputs import align_for_comparison
from vit_export.backends.open import open_artifact, read_manifest
from vit_export.data.pillow_resize import columns_may_come_first
from vit_export.data.preprocessing import Preprocessing, preprocess
from vit_export.graph.heads import append_head
from vit_export.graph.resize import take_pixels
from vit_export.model.resize import PillowResize

IMAGE = FASHION / "images" / "bag_1.png"
PHOTO = ROOT / "vit_export" / "data" / "photos" / "cat.png"
FIRST = columns_may_come_first(PIL.__version__)
SHORTER = Preprocessing(resize=37, crop=(32, 28), mean=(0.5,) * 3, std=(0.25,) * 3)
SIDES = dataclasses.replace(SHORTER, resize=(33, 41), centre="floor")
GREY = Preprocessing(mode="L", resize=40, crop=(33, 40), mean=(0.3,), std=(0.4,))
STEPS = {
    f"{name} {interpolation}": dataclasses.replace(steps, interpolation=interpolation)
    for name, steps in (("shorter", SHORTER), ("sides", SIDES), ("grey", GREY))
    for interpolation in ("bilinear", "bicubic", "lanczos")
}
SIZES = [(32, 28), (37, 37), (64, 48), (61, 45), (7, 9), (240, 33), (33, 300), (1, 5), (481, 333)]


def noise(size, steps, seed=0, levels=256):
    shape = (*size, len(steps.mean))
    drawn = np.random.default_rng(seed).integers(0, levels, shape, np.uint8)
    return drawn if levels == 256 else drawn * np.uint8(255)


def by_pillow(image, steps):
    """Levels of Pillow's own resize and our crop, (C, h, w)."""
    plain = dataclasses.replace(steps, mean=(0.0,) * len(steps.mean), std=(1.0,) * len(steps.std))
    picture = Image.fromarray(image[..., 0] if steps.mode == "L" else image)
    return np.round(preprocess(picture, plain) * 255)


def resize_graph(steps, opset=20, *, columns_first=FIRST, normalizes=False):
    """Return the resize in front of a node that does nothing."""
    shape = ["batch", len(steps.mean), *steps.crop]
    kind = ir.TensorType(ir.DataType.FLOAT)
    image = ir.Value(name="image", shape=ir.Shape(shape), type=kind)
    node = ir.node("Identity", [image])
    node.outputs[0].name, node.outputs[0].shape, node.outputs[0].type = "out", image.shape, kind
    graph = ir.Graph([image], node.outputs, nodes=[node], opset_imports={"": opset}, name="g")
    model = ir.Model(graph, ir_version=10)
    take_pixels(model, steps, columns_first=columns_first, normalizes=normalizes)
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def in_onnx(steps, opset=20, *, normalizes=False):
    proto = resize_graph(steps, opset, normalizes=normalizes)
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    return lambda images: session.run(None, {"image": images})[0]


def in_torchscript(steps, *, normalizes=False):
    """The module, traced on one size for all."""
    module = PillowResize(steps, columns_first=FIRST, normalizes=normalizes).eval()
    with pytest.deprecated_call():
        example = torch.zeros(2, 50, 40, len(steps.mean), dtype=torch.uint8)
        traced = torch.jit.freeze(torch.jit.trace(module, (example,), check_trace=False))
    return lambda images: traced(torch.from_numpy(images)).numpy()


@pytest.mark.parametrize("form", [in_onnx, in_torchscript])
@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
def test_every_level_is_pillows(form, steps):
    """Noise of all levels and of two: up and down, odd, wide, tall, and as large as the crop."""
    resize = form(steps)
    for size in SIZES:
        for levels in (256, 2):
            images = np.stack([noise(size, steps, seed, levels) for seed in range(3)])
            expected = np.stack([by_pillow(image, steps) for image in images])
            np.testing.assert_array_equal(resize(images), expected, err_msg=str(size))


@pytest.mark.parametrize("name", ["shorter bilinear", "shorter bicubic", "sides bicubic"])
def test_any_size_at_all(name):
    steps = STEPS[name]
    resize = in_onnx(steps)

    @settings(max_examples=60, deadline=None)
    @given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 99))
    def check(height, width, seed):
        assume(max(height, width) <= 100 * min(height, width))  # Python refuses these
        image = noise((height, width), steps, seed)
        np.testing.assert_array_equal(resize(image[None])[0], by_pillow(image, steps))

    check()


def test_a_large_photo():
    """Sixteen times as large: here sums begin to leave the mantissa."""
    with Image.open(PHOTO) as photo:
        image = np.asarray(photo.resize((1500, 2300)))
    steps = dataclasses.replace(STEPS["shorter bicubic"], resize=90, crop=(80, 88))
    np.testing.assert_array_equal(in_onnx(steps)(image[None])[0], by_pillow(image, steps))


def test_another_resize_shows():
    """What others do for this: torch's antialiased resize is many levels off on such noise."""
    steps = dataclasses.replace(SIDES, crop=SIDES.resize)
    image = noise((97, 60), steps)
    other = torch.nn.functional.interpolate(
        torch.from_numpy(image).permute(2, 0, 1)[None].float(),
        size=steps.resize,
        mode="bilinear",
        antialias=True,
    )
    assert np.abs(other[0].numpy() - by_pillow(image, steps)).max() > 3


@pytest.mark.parametrize("form", [in_onnx, in_torchscript])
def test_normalized(form):
    image = noise((50, 60), SHORTER)
    found = form(SHORTER, normalizes=True)(image[None])[0]
    np.testing.assert_allclose(found, preprocess(Image.fromarray(image), SHORTER), atol=1e-6)


@pytest.mark.parametrize("opset", [18, 22])
def test_every_opset_has_it(opset):
    image = noise((50, 60), SHORTER)
    np.testing.assert_array_equal(
        in_onnx(SHORTER, opset)(image[None])[0], by_pillow(image, SHORTER)
    )


@pytest.mark.parametrize("columns_first", [True, False])
def test_every_split_of_the_resize_has_its_sizes(columns_first):
    """WebGPU in onnxruntime-web refuses a Split with `num_outputs`."""
    model = ir.from_proto(resize_graph(SHORTER, columns_first=columns_first))
    nodes = ir.traversal.RecursiveGraphIterator(model.graph)
    splits = [node for node in nodes if node.op_type == "Split"]
    assert len(splits) == (4 if columns_first else 2)
    assert all(len(split.inputs) == 2 for split in splits)
    assert all("num_outputs" not in split.attributes for split in splits)


@pytest.mark.parametrize(("version", "first"), [("11.3.0", False), ("13.0.0", True)])
def test_the_order_of_passes_is_that_of_the_version(version, first):
    """Pillow 13 begins with columns where an image becomes much less tall; earlier ones do not."""
    assert columns_may_come_first(version) is first
    image = torch.from_numpy(noise((300, 40), SHORTER)[None])
    found = [
        PillowResize(SHORTER, columns_first=one, normalizes=False)(image) for one in (True, False)
    ]
    assert not torch.equal(*found)


# The whole file ------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["onnx", "torchscript"])
def target(request):
    return request.param


@pytest.fixture(scope="module")
def top5(tmp_path_factory, target):
    """The file that takes an image and answers classes."""
    out = tmp_path_factory.mktemp("top5") / "f"
    told = run_json(target, "--model", "fashion_mnist", *ASKED, "--out", out)
    assert told["verdict"]["status"] == "PROVEN"
    return out


ASKED = ("--preprocess", "graph", "--head", "top5")


def test_height_and_width_are_proven(top5):
    recipes = read_manifest(open_artifact(top5), top5).reference.recipes
    sizes = {recipe.rpartition(":")[2] for recipe in recipes if "x" in recipe}
    assert len(sizes) >= 3
    assert run_json("validate", top5, "-q")["batches"] == [1, 2, 3, 16]


def test_a_file_takes_an_image_and_answers_classes(top5):
    with Image.open(IMAGE) as image:
        levels = np.asarray(image.convert("L"))[None, ..., None]
    answer = open_artifact(top5).run(levels)
    assert answer.shape == (1, 5, 2)
    labels = (FASHION / "labels.txt").read_text().split("\n")
    assert labels[int(answer[0, 0, 0])] == "Bag"
    assert 0.5 < answer[0, 0, 1] <= 1


def test_names_and_types_of_outputs(top5, target):
    levels = np.zeros((1, 40, 30, 1), np.uint8)
    if target == "onnx":
        session = onnxruntime.InferenceSession(str(top5))
        classes, scores = session.run(["classes", "scores"], {"image": levels})
    else:
        with pytest.deprecated_call():
            module = torch.jit.load(str(top5))
        classes, scores = (one.numpy() for one in module(torch.from_numpy(levels)))
    assert (classes.dtype, classes.shape, scores.dtype) == (np.int64, (1, 5), np.float32)


def test_best_classes_of_a_shape_that_is_not_told():
    logits = ir.Value(name="logits", type=ir.TensorType(ir.DataType.FLOAT))
    graph = ir.Graph([logits], [logits], nodes=[], opset_imports={"": 20}, name="g")
    with pytest.raises(ValueError, match="shape of its output"):
        append_head(ir.Model(graph, ir_version=10), "top5")


def test_predict_sees_no_difference(top5, fashion, target):
    images = sorted((FASHION / "images").glob("*.png"))[:4]
    plain = run_json("predict", fashion.path[target], PHOTO, *images)
    found = run_json("predict", top5, PHOTO, *images)
    assert [one["classes"] for one in found] == [one["classes"] for one in plain]
    for one, other in zip(found, plain, strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)


def test_images_judge_it(top5):
    told = run_json("validate", top5, "--images", FASHION / "images", "-q", "--weights", WEIGHTS)
    assert told["images"]["agreement"]["hits"] == 20
    assert told["images"]["worst_snr_db"] > 110


WEIGHTS = FASHION / "fashion_mnist.safetensors"


def test_more_classes_than_it_answers(top5):
    assert "answers 5 classes" in refused("predict", top5, IMAGE, "--top", "6", exit_code=2)


@pytest.mark.parametrize("command", ["locate", "bench"])
def test_commands_that_need_the_model_alone_say_so(top5, command):
    assert "--preprocess none" in refused(command, top5, exit_code=2)


def test_softmax(tmp_path, target):
    out = tmp_path / "f"
    run(target, "--model", "fashion_mnist", "--head", "softmax", "--out", out, "-q")
    session = open_artifact(out)
    found = session.run(np.zeros((2, 1, 28, 28), np.float32))
    assert found.shape == (2, 10)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    assert run_json("predict", out, IMAGE)[0]["classes"][0] == "Bag"


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_fewer_bits(tmp_path, precision):
    """The patch convolution does not take levels then: its kernel would leave fp16."""
    out = tmp_path / "f.onnx"
    told = run_json(
        "onnx", "--model", "fashion_mnist", *ASKED, "--precision", precision, "--out", out
    )
    assert told["verdict"]["status"] == "PROVEN"


@pytest.mark.parametrize("batch", rarely(["1", "2", "2:3:4"], "2:3:4"))
def test_batches_of_a_size(tmp_path, tiny_export, target, batch):
    out = tmp_path / "f"
    tiny_export(target, out, "--preprocess", "graph", "--batch", batch)
    run("validate", out, "-q")
    assert len(run_json("predict", out, PHOTO)[0]["classes"]) == 5


REFUSED = {
    "nearest": (("--interpolation", "nearest"), "nearest"),
    "no classes": (("--outputs", "features", "--head", "softmax"), "no classes"),
    "TensorRT": (("--for", "tensorrt"), "64-bit floats"),
    "io-fp16": (("--precision", "fp16", "--io-fp16"), "--io-fp16 means nothing"),
}


@pytest.mark.parametrize(("arguments", "told"), REFUSED.values(), ids=REFUSED)
def test_what_makes_no_sense_is_refused(tmp_path, arguments, told):
    given_ = ("onnx", "--model", "fashion_mnist", "--preprocess", "graph", "--out", tmp_path / "f")
    assert told in refused(*given_, *arguments, exit_code=2)
    assert list(tmp_path.iterdir()) == []


def test_without_preprocessing(tmp_path):
    toml = tmp_path / "m.toml"
    toml.write_text("[vit]\nimage_size = 16\npatch_size = 8\nwidth = 24\ndepth = 1\nheads = 3\n")
    out = tmp_path / "f"
    assert "no preprocessing" in refused(
        "onnx", "--model", toml, "--preprocess", "graph", "--out", out, exit_code=2
    )


def test_a_changed_mean_is_rejected(tmp_path):
    """The proof can fail: one hundredth of a level range in the folded bias."""
    good = tmp_path / "f.onnx"
    run("onnx", "--model", "fashion_mnist", *ASKED, "--out", good, "-q")
    model = onnx.load(good)
    (bias,) = (one for one in model.graph.initializer if one.name.endswith("of_levels_2"))
    values = onnx.numpy_helper.to_array(bias) * np.float32(1.01)
    bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
    onnx.save(model, good)
    told = json.loads(run("validate", good, "--json", "-q", exit_code=4).stdout)
    assert told["verdict"]["status"] == "REJECTED"


def test_a_device_needs_no_torch(tmp_path):
    out = tmp_path / "f.onnx"
    run("onnx", "--model", "fashion_mnist", *ASKED, "--out", out, "-q")
    script = (
        "import sys, vit_export; vit_export.predict(sys.argv[1], [sys.argv[2]]);"
        "assert vit_export.validate(sys.argv[1]).status == 'PROVEN';"
        "assert not {'torch', 'onnx'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script, out, IMAGE], check=False)
    assert done.returncode == 0


# What is compared with the logits -----------------------------------------------------------

LOGITS = np.array([1, 4, 2, 0, 3, -1], np.float32)
PROBABILITIES = (np.exp(LOGITS) / np.exp(LOGITS).sum()).astype(np.float32)
BEST = np.stack([[1, 4, 2, 0, 3], PROBABILITIES[[1, 4, 2, 0, 3]]], -1).astype(np.float32)


def off(head, answer):
    expected, found = align_for_comparison(head, LOGITS, answer)
    return float(np.abs(expected - found).max())


def test_right_answers_pass():
    assert off("softmax", PROBABILITIES) < 1e-6
    assert off("top5", BEST) < 1e-6


def changed(row, column, value):
    answer = BEST.copy()
    answer[row, column] = value
    return answer


WRONG = {
    "another class": changed(0, 0, 5),
    "a class twice": changed(0, 0, 4),
    "no class at all": changed(4, 0, 77),
    "a score": changed(2, 1, 0.5),
    "not a number": changed(2, 1, np.nan),
    "a negative score": changed(2, 1, -0.1),
    "not the best": np.concatenate([BEST[:4], [[5, PROBABILITIES[5]]]]).astype(np.float32),
}


@pytest.mark.parametrize("answer", WRONG.values(), ids=WRONG)
def test_wrong_answers_do_not(answer):
    assert not off("top5", answer) < 0.1


def test_small_probabilities_count_too():
    """0.01% in place of 0.02% is as wrong as it was in the logits."""
    wrong = PROBABILITIES.copy()
    wrong[5] /= 2
    assert off("softmax", wrong) == pytest.approx(np.log(2), rel=1e-3)
