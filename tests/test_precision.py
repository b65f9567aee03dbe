"""--precision from the outside: files, verdicts, accuracy, and requests that are errors."""

import gzip
import json

import numpy as np
import onnx
import pytest
from PIL import Image
from quantized_models import add_outliers
from support import (
    FASHION,
    build_with_tensorrt,
    expect_error,
    mark_slow_except,
    measure_snr_in_openvino,
    need,
    predict_classes,
    run,
    run_json,
    tiny_spec,
)
from test_fashion_mnist import DATASET

import vit_export
from vit_export.backends.open import open_artifact, read_manifest
from vit_export.core.errors import RequestError
from vit_export.model.vit.state import random_vit

CALIBRATION = FASHION / "images"
INT8 = onnx.TensorProto.INT8
OPTIONS = {
    "int8": (),
    "int8 token": ("--scales", "token"),
    "int8-static": ("--calibration", CALIBRATION),
    "int8-static onnxruntime": ("--calibration", CALIBRATION, "--for", "onnxruntime"),
    "fp16": (),
    "weights-int8": (),
    "weights-int4": ("--opset", "21"),
    "weights-int4 onnxruntime": ("--for", "onnxruntime"),
}
MAX_LOST_POINTS = {"weights-int4": 3.0}
"""Maximum loss of accuracy in percentage points, by precision; 0.3 for all others."""
MIN_AGREEMENT = {"weights-int4": 0.95}
"""Minimum share of predictions that stay, by precision; 0.99 for all others."""
MAX_SIZE = {"fp16": 0.55, "weights-int4": 0.25}
"""Maximum size as a share of the fp32 file, by precision; 0.35 for all others."""


@pytest.fixture(scope="module")
def built(shared_exports):
    """Each file and the document of its export."""

    def list_words(name):
        precision = ("--precision", name.split()[0])
        return ("onnx", "--model", "fashion_mnist", *precision, *OPTIONS[name])

    return shared_exports("precision", list_words)


EVERY_NAME = pytest.mark.parametrize(
    "name", mark_slow_except(OPTIONS, "int8", "int8-static", "fp16")
)


@EVERY_NAME
def test_a_file_is_proven_in_its_precision(name, built, fashion):
    precision = name.split()[0]
    path, document = built[name]
    assert document["verdict"]["status"] == "PROVEN"
    assert document["verdict"]["precision"] == precision
    manifest = read_manifest(open_artifact(path), path)
    assert manifest.precision == precision
    assert bool(manifest.layers) == (precision != "fp16")
    assert bool(manifest.fp16_range) == (precision == "fp16")
    assert path.stat().st_size < MAX_SIZE.get(precision, 0.35) * fashion.path["onnx"].stat().st_size
    assert run_json("validate", path, "-q")["status"] == "PROVEN"


@EVERY_NAME
def test_top_classes_on_500_test_images_stay(
    name, built, fashion_classes, fashion_subset, fashion_inputs
):
    before, labels = fashion_classes, fashion_subset[1]
    after = predict_classes(built[name][0], fashion_inputs)
    precision = name.split()[0]
    assert (after == before).mean() >= MIN_AGREEMENT.get(precision, 0.99)
    lost = 100 * ((before == labels).mean() - (after == labels).mean())
    assert lost <= MAX_LOST_POINTS.get(precision, 0.3) + 0.2  # one image of 500


@pytest.mark.parametrize("name", ["int8", "int8-static", "fp16"])
def test_inspect_counts_multiply_adds_by_arithmetic(name, built):
    macs = run_json("inspect", built[name][0])["audit"]["macs"]
    assert max(macs, key=macs.get) == name.removesuffix("-static")
    assert macs[name.removesuffix("-static")] > 0.9 * sum(macs.values())


def test_the_same_request_gives_the_same_bytes(built, tmp_path):
    path, _ = built["int8-static"]
    again = tmp_path / "again.onnx"
    options = ("--precision", "int8-static", *OPTIONS["int8-static"])
    run("onnx", "--model", "fashion_mnist", *options, "--out", again, "-q")
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["int8-static", "weights-int4"])
def test_the_number_of_threads_changes_no_byte(name, tmp_path):
    """Each export has a cache of its own: the second must observe the images again."""
    written = []
    for threads in ("1", "2"):
        out = tmp_path / threads / "f.onnx"
        out.parent.mkdir()
        environment = {"OMP_NUM_THREADS": threads, "VIT_EXPORT_CACHE": str(out.parent / "cache")}
        options = ("--model", "fashion_mnist", "--precision", name, *OPTIONS[name])
        run("onnx", *options, "--out", out, "-q", process=True, env=environment)
        written.append(out.read_bytes())
    assert written[0] == written[1]


def test_locate_holds_an_int8_file_to_the_tolerance_of_int8(built):
    document = run_json("locate", built["int8"][0], "-q")
    assert document["first"] is None
    assert not any(one["name"].endswith("mlp_norm") for one in document["modules"])


def test_locate_finds_the_layer_of_a_tampered_int8_file(built, tmp_path):
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


@pytest.mark.parametrize("precision", mark_slow_except(["fp16", "int8", "weights-int8"], "fp16"))
def test_a_fixed_batch(tmp_path, precision):
    out = tmp_path / "f.onnx"
    run("onnx", "--model", "fashion_mnist", "--precision", precision, "--batch", 2, "--out", out)
    (feed,) = onnx.load(out).graph.input
    assert feed.type.tensor_type.shape.dim[0].dim_value == 2


def test_inputs_and_outputs_in_fp16(tmp_path):
    out = tmp_path / "f.onnx"
    options = ("--model", "fashion_mnist", "--precision", "fp16", "--io-fp16")
    document = run_json("onnx", *options, "--out", out, "-q")
    assert document["verdict"]["status"] == "PROVEN"
    graph = onnx.load(out).graph
    types = {value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)}
    assert types == {onnx.TensorProto.FLOAT16}


@pytest.mark.parametrize("precision", ["int8-static", "fp16"])
def test_tensorrt_builds_an_engine(tmp_path, precision):
    """TensorRT for RTX builds one without a GPU, from symmetric Q and DQ or from fp16."""
    path = tmp_path / "f.onnx"
    options = {"calibration": CALIBRATION} if precision == "int8-static" else {}
    vit_export.onnx("fashion_mnist", path, precision=precision, flavour="tensorrt", **options)
    assert build_with_tensorrt(path, (1, 28, 28)) > 1000


@pytest.mark.parametrize("name", ["int8-static", "int8 token", "fp16"])
def test_openvino_gives_the_same_answers(name, built):
    assert measure_snr_in_openvino(built[name][0]) > 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--precision", "int9"), "Did you mean 'int8'"),
        (("--precision", "bf16"), "no bf16 arithmetic"),
        (("--precision", "int8-static"), "--calibration DIR"),
        (("--precision", "int8", "--for", "tensorrt"), "DynamicQuantizeLinear"),
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
        (("--precision", "auto", "--plot", "p.xyz"), "no image format"),
        (("--precision", "auto", "--for", "openvino"), "times layers in ONNX Runtime"),
    ],
)
def test_a_combination_that_makes_no_sense_is_an_error(tmp_path, options, message):
    out = tmp_path / "f.onnx"
    command = ("onnx", "--model", "fashion_mnist", *options, "--out", out)
    assert message in expect_error(*command, exit_code=2, cwd=tmp_path)
    assert not list(tmp_path.iterdir())


def test_openvino_supports_scales_per_token(tmp_path):
    options = {"precision": "int8", "scales": "token", "flavour": "openvino"}
    assert vit_export.onnx("fashion_mnist", tmp_path / "f.onnx", **options).verdict.accepted


def test_unknown_scales_are_an_error(tmp_path):
    with pytest.raises(RequestError, match="no scales 'tokens'"):
        vit_export.onnx("fashion_mnist", tmp_path / "f.onnx", precision="int8", scales="tokens")


def test_torchscript_supports_fp32_only(tmp_path):
    options = ("--model", "fashion_mnist", "--precision", "int8", "--out", tmp_path / "f.pt")
    assert "take fp32" in expect_error("torchscript", *options, exit_code=2)


def make_calibration(folder, good=20, bad=0, flat=0):
    """A folder of photographs, of files that are no images, and of images of one colour."""
    folder.mkdir()
    for path in sorted(CALIBRATION.glob("*.png"))[:good]:
        (folder / path.name).write_bytes(path.read_bytes())
    for number in range(bad):
        (folder / f"bad{number}.png").write_bytes(b"no image at all")
    for number in range(flat):
        Image.new("L", (28, 28), 7).save(folder / f"flat{number}.png")
    return folder


@pytest.mark.parametrize(
    ("counts", "names"),
    [
        ({"good": 19, "bad": 1}, "bad0.png"),
        ({"flat": 2}, "flat0.png, flat1.png"),
    ],
)
def test_the_export_names_faulty_images_of_the_calibration(tmp_path, counts, names):
    folder = make_calibration(tmp_path / "images", **counts)
    options = ("--model", "fashion_mnist", "--precision", "int8-static", "--calibration", folder)
    document = run_json("onnx", *options, "--out", tmp_path / "f.onnx", "-q")
    assert names in document["calibration"]


def test_a_calibration_that_is_mostly_unreadable_is_an_error(tmp_path):
    folder = make_calibration(tmp_path / "images", good=5, bad=5)
    options = ("--model", "fashion_mnist", "--precision", "int8-static", "--calibration", folder)
    message = expect_error("onnx", *options, "--out", tmp_path / "f.onnx", "-q", exit_code=2)
    assert "a tenth of 10 files" in message
    assert "bad0.png" in message


def test_the_export_counts_images_that_both_calibrate_and_judge(tmp_path):
    options = ("--precision", "int8-static", "--calibration", CALIBRATION, "--images", CALIBRATION)
    out = tmp_path / "f.onnx"
    document = run_json("onnx", "--model", "fashion_mnist", *options, "--out", out, "-q")
    assert "20 of its images measure the accuracy too" in document["calibration"]


@pytest.mark.parametrize("scales", ["batch", "token"])
def test_a_model_with_outlier_channels_keeps_25_db(tmp_path, scales):
    """Channels eight times as large as the others, with both kinds of run-time scales."""
    spec = tiny_spec(image_size=(32, 32), width=64, heads=4)
    vit = add_outliers(random_vit(spec, 0))
    options = {"precision": "int8", "scales": scales}
    built = vit_export.onnx((spec, vit.state_dict()), tmp_path / "f.onnx", **options)
    assert min(one.snr_db for one in built.verdict.against_eager) > 25


@pytest.mark.slow
@pytest.mark.sweep("test-images", core=("[int8]",))
@pytest.mark.parametrize("precision", ["int8", "int8-static", "fp16", "weights-int8"])
def test_all_10_000_test_images(tmp_path, precision):
    """Accuracy is within 0.3 points of fp32, and 99% of all predictions stay."""
    fix = "apt-get install dataset-fashion-mnist, or scripts/test --apt"
    need("fashion-mnist", present=DATASET.exists(), fix=fix)
    write_test_images(tmp_path / "images")
    options = ("--calibration", CALIBRATION) if precision == "int8-static" else ()
    report = run_json(
        *("onnx", "--model", "fashion_mnist", "--precision", precision, *options, "-q"),
        *("--images", tmp_path / "images", "--out", tmp_path / "f.onnx"),
    )["images"]
    assert report["count"] == 10_000
    assert abs(report["difference_points"]) <= 0.3
    assert report["agreement"]["hits"] >= 9_900


def write_test_images(folder):
    """Write all test images of Fashion-MNIST, each to the folder of its class."""
    with gzip.open(DATASET / "t10k-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read()[16:], np.uint8).reshape(-1, 28, 28)
    with gzip.open(DATASET / "t10k-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read()[8:], np.uint8)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        place = folder / str(label)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{number}.png")
