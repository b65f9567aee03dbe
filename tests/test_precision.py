"""--precision from the outside: files, verdicts, accuracy, and requests that make no sense."""

import gzip
import json

import numpy as np
import onnx
import pytest
from PIL import Image
from support import (
    FASHION,
    Made,
    built_by_tensorrt,
    need,
    rarely,
    refused,
    run,
    run_json,
    tiny_spec,
    top_classes,
    worst_in_openvino,
)
from test_fashion_mnist import DATASET
from test_quantize import with_outliers

import vit_export
from vit_export.backends.open import open_artifact, read_manifest
from vit_export.core.errors import RequestError
from vit_export.model.vit.state import random_vit

CALIBRATION = FASHION / "images"
INT8 = onnx.TensorProto.INT8
ASKED = {
    "int8": (),
    "int8 token": ("--scales", "token"),
    "int8-static": ("--calibration", CALIBRATION),
    "int8-static onnxruntime": ("--calibration", CALIBRATION, "--for", "onnxruntime"),
    "fp16": (),
    "weights-int8": (),
    "weights-int4": ("--opset", "21"),
    "weights-int4 onnxruntime": ("--for", "onnxruntime"),
}
POINTS = {"weights-int4": 3.0}
"""Of accuracy that a precision may lose; 0.3 where nothing is said."""
AGREEING = {"weights-int4": 0.95}
"""Share of predictions that have to stay; 0.99 where nothing is said."""
SMALLER = {"fp16": 0.55, "weights-int4": 0.25}
"""Of the fp32 file; 0.35 where nothing is said."""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Each file, with what building it told."""
    folder = tmp_path_factory.mktemp("precisions")

    def make(name):
        out = folder / f"{name.replace(' ', '-')}.onnx"
        asked = ("--model", "fashion_mnist", "--precision", name.split()[0], *ASKED[name])
        return out, run_json("onnx", *asked, "--out", out, "-q")

    return Made(make)


EVERY_NAME = pytest.mark.parametrize("name", rarely(ASKED, "int8", "int8-static", "fp16"))


@EVERY_NAME
def test_a_file_is_proven_in_its_precision(name, built, fashion):
    precision = name.split()[0]
    path, told = built[name]
    assert told["verdict"]["status"] == "PROVEN"
    assert told["verdict"]["precision"] == precision
    manifest = read_manifest(open_artifact(path), path)
    assert manifest.precision == precision
    assert bool(manifest.layers) == (precision != "fp16")
    assert bool(manifest.fp16_range) == (precision == "fp16")
    assert path.stat().st_size < SMALLER.get(precision, 0.35) * fashion.path["onnx"].stat().st_size
    assert run_json("validate", path, "-q")["status"] == "PROVEN"


@EVERY_NAME
def test_answers_on_500_test_images_stay(name, built, fashion, fashion_subset, fashion_inputs):
    before, labels = top_classes(fashion.path["onnx"], fashion_inputs), fashion_subset[1]
    found = top_classes(built[name][0], fashion_inputs)
    precision = name.split()[0]
    assert (found == before).mean() >= AGREEING.get(precision, 0.99)
    lost = 100 * ((before == labels).mean() - (found == labels).mean())
    assert lost <= POINTS.get(precision, 0.3) + 0.2  # one image of 500


@pytest.mark.parametrize("name", ["int8", "int8-static", "fp16"])
def test_inspect_tells_what_products_are_done_in(name, built):
    told = run_json("inspect", built[name][0])
    macs = told["audit"]["macs"]
    assert max(macs, key=macs.get) == name.removesuffix("-static")
    assert macs[name.removesuffix("-static")] > 0.9 * sum(macs.values())


def test_the_same_request_gives_the_same_bytes(built, tmp_path):
    path, _ = built["int8-static"]
    again = tmp_path / "again.onnx"
    options = ("--precision", "int8-static", *ASKED["int8-static"])
    run("onnx", "--model", "fashion_mnist", *options, "--out", again, "-q")
    assert again.read_bytes() == path.read_bytes()


def test_an_int8_file_is_located_in_its_own_tolerance(built):
    told = run_json("locate", built["int8"][0], "-q")
    assert told["first"] is None
    assert not any(one["name"].endswith("mlp_norm") for one in told["modules"])


def test_a_tampered_int8_file_is_located(built, tmp_path):
    model = onnx.load(built["int8"][0])
    for tensor in model.graph.initializer:
        if (
            tensor.name.startswith("blocks.2.mlp.contract")
            and tensor.data_type == onnx.TensorProto.INT8
        ):
            array = onnx.numpy_helper.to_array(tensor)
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.roll(array, 7, axis=0), tensor.name))
    onnx.save(model, tmp_path / "f.onnx")
    assert json.loads(run("validate", tmp_path / "f.onnx", "--json", "-q", exit_code=4).stdout)
    done = run("locate", tmp_path / "f.onnx", "--json", "-q", exit_code=4)
    assert json.loads(done.stdout)["location"]["first"] == "blocks.2.mlp"


def test_inputs_and_outputs_in_fp16(tmp_path):
    out = tmp_path / "f.onnx"
    options = ("--model", "fashion_mnist", "--precision", "fp16", "--io-fp16")
    told = run_json("onnx", *options, "--out", out, "-q")
    assert told["verdict"]["status"] == "PROVEN"
    graph = onnx.load(out).graph
    types = {value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)}
    assert types == {onnx.TensorProto.FLOAT16}


@pytest.mark.parametrize("precision", ["int8-static", "fp16"])
def test_tensorrt_builds_it(tmp_path, precision):
    """TensorRT for RTX builds an engine of it without a GPU: symmetric Q and DQ, or halves."""
    path = tmp_path / "f.onnx"
    asked = {"calibration": CALIBRATION} if precision == "int8-static" else {}
    vit_export.onnx("fashion_mnist", path, precision=precision, flavour="tensorrt", **asked)
    assert built_by_tensorrt(path, (1, 28, 28)) > 1000


@pytest.mark.parametrize("name", ["int8-static", "int8 token", "fp16"])
def test_openvino_answers_alike(name, built):
    assert worst_in_openvino(built[name][0]) > 20


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--precision", "int9"), "Did you mean 'int8'"),
        (("--precision", "bf16"), "no bf16 arithmetic"),
        (("--precision", "int8-static"), "--calibration DIR"),
        (("--precision", "int8", "--for", "tensorrt"), "no DynamicQuantizeLinear"),
        (("--precision", "int8", "--for", "openvino"), "slower than fp32"),
        (("--precision", "int8", "--scales", "token", "--for", "tensorrt"), "no zero points"),
        (("--precision", "fp16", "--for", "onnxruntime"), "in fp32"),
        (("--precision", "weights-int4"), "--opset 21"),
        (("--scales", "token"), "means nothing"),
        (("--calibration", "."), "means nothing"),
        (("--precision", "int8", "--io-fp16"), "means nothing"),
        (("--precision", "int8-static", "--calibration", "nowhere"), "holds no images"),
        (("--precision", "int8", "--min-snr", "35"), "means nothing"),
        (("--precision", "int8", "--min-top1", "0.9"), "means nothing"),
        (("--precision", "int8", "--plot", "p.png"), "means nothing"),
        (("--precision", "auto", "--min-snr", "-3"), "--min-snr is -3.0 dB"),
        (("--precision", "auto", "--min-snr", "nan"), "--min-snr is nan dB"),
        (("--precision", "auto", "--min-top1", "99"), "give a share"),
        (("--precision", "auto", "--plot", "p.xyz"), "no format of pictures"),
        (("--precision", "auto", "--for", "openvino"), "times layers in ONNX Runtime"),
    ],
)
def test_requests_that_make_no_sense(tmp_path, options, told):
    out = tmp_path / "f.onnx"
    asked = ("onnx", "--model", "fashion_mnist", *options, "--out", out)
    assert told in refused(*asked, exit_code=2, cwd=tmp_path)
    assert not list(tmp_path.iterdir())


def test_scales_for_each_token_are_for_openvino_too(tmp_path):
    asked = {"precision": "int8", "scales": "token", "flavour": "openvino"}
    assert vit_export.onnx("fashion_mnist", tmp_path / "f.onnx", **asked).verdict.accepted


def test_scales_that_nobody_knows(tmp_path):
    with pytest.raises(RequestError, match="no scales 'tokens'"):
        vit_export.onnx("fashion_mnist", tmp_path / "f.onnx", precision="int8", scales="tokens")


def test_torchscript_has_fp32_alone(tmp_path):
    options = ("--model", "fashion_mnist", "--precision", "int8", "--out", tmp_path / "f.pt")
    assert "built in fp32" in refused("torchscript", *options, exit_code=2)


def calibration(folder, good=20, bad=0, flat=0):
    folder.mkdir()
    for path in sorted(CALIBRATION.glob("*.png"))[:good]:
        (folder / path.name).write_bytes(path.read_bytes())
    for number in range(bad):
        (folder / f"bad{number}.png").write_bytes(b"no image at all")
    for number in range(flat):
        Image.new("L", (28, 28), 7).save(folder / f"flat{number}.png")
    return folder


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ({"good": 19, "bad": 1}, "bad0.png"),
        ({"flat": 2}, "flat0.png, flat1.png"),
    ],
)
def test_a_calibration_with_faults_is_told_of(tmp_path, counts, told):
    folder = calibration(tmp_path / "images", **counts)
    asked = ("--model", "fashion_mnist", "--precision", "int8-static", "--calibration", folder)
    document = run_json("onnx", *asked, "--out", tmp_path / "f.onnx", "-q")
    assert told in document["calibration"]


def test_a_calibration_that_is_mostly_unreadable(tmp_path):
    folder = calibration(tmp_path / "images", good=5, bad=5)
    asked = ("--model", "fashion_mnist", "--precision", "int8-static", "--calibration", folder)
    told = refused("onnx", *asked, "--out", tmp_path / "f.onnx", "-q", exit_code=2)
    assert "more than a tenth of 10 files can't be read (bad0.png" in told


def test_images_that_calibrate_and_judge_are_told_of(tmp_path):
    asked = ("--precision", "int8-static", "--calibration", CALIBRATION, "--images", CALIBRATION)
    out = tmp_path / "f.onnx"
    told = run_json("onnx", "--model", "fashion_mnist", *asked, "--out", out, "-q")
    assert "20 of its images judge the file too" in told["calibration"]


def test_outliers_in_a_model_of_ones_own(tmp_path):
    """A live module with channels eight times as large, in every precision of int8."""
    spec = tiny_spec(image_size=(32, 32), width=64, heads=4)
    vit = with_outliers(random_vit(spec, 0))
    for scales in ("batch", "token"):
        model = (spec, vit.state_dict())
        made = vit_export.onnx(model, tmp_path / "f.onnx", precision="int8", scales=scales)
        assert min(one.snr_db for one in made.verdict.against_eager) > 25


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["int8", "int8-static", "fp16", "weights-int8"])
def test_all_10_000_test_images(tmp_path, precision):
    """Within 0.3 points of fp32, and 99% of all predictions stay."""
    fix = "apt-get install dataset-fashion-mnist, or scripts/test --apt"
    need("fashion-mnist", present=DATASET.exists(), fix=fix)
    write_test_images(tmp_path / "images")
    asked = ("--calibration", CALIBRATION) if precision == "int8-static" else ()
    told = run_json(
        *("onnx", "--model", "fashion_mnist", "--precision", precision, *asked, "-q"),
        *("--images", tmp_path / "images", "--out", tmp_path / "f.onnx"),
    )["images"]
    assert told["count"] == 10_000
    assert abs(told["difference_points"]) <= 0.3
    assert told["agreement"]["hits"] >= 9_900


def write_test_images(folder):
    """All test images of Fashion-MNIST, each in the folder of its class."""
    with gzip.open(DATASET / "t10k-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read()[16:], np.uint8).reshape(-1, 28, 28)
    with gzip.open(DATASET / "t10k-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read()[8:], np.uint8)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        place = folder / str(label)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{number}.png")
