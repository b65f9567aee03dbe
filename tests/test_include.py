"""--include: patches, head and attention in fewer bits, on request."""

import json

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from quantized_models import (
    WIDE,
    make_batch,
    make_graph,
    make_plan_for,
    quantize_model,
    run_eager,
    run_graph,
)
from support import (
    FASHION,
    VARIANTS,
    build_with_tensorrt,
    expect_error,
    mark_slow_except,
    measure_snr_in_openvino,
    predict_classes,
    run,
    run_json,
    snr_db,
    tiny_spec,
)

import vit_export
from vit_export.artifact.precision import PARTS, QuantizationRequest
from vit_export.backends.open import open_artifact, read_manifest
from vit_export.core.errors import BuildError, RequestError
from vit_export.graph.cost import macs_by_dtype
from vit_export.model.vit.lowering import lower
from vit_export.model.vit.state import random_vit
from vit_export.quantization.convert import quantize
from vit_export.quantization.fake_quant import fake_quantize
from vit_export.quantization.layers import (
    check_parts,
    find_attention_matmuls,
    find_linear_layers,
)
from vit_export.quantization.plan import QuantizationPlan

CALIBRATION = FASHION / "images"
ALL = [word for part in PARTS for word in ("--include", part)]
OPTIONS = {"int8": (), "int8-static": ("--calibration", CALIBRATION)}
LAYERS = {"patches": ["embedding.projection"], "head": ["head.classifier"]}


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_unfolded_patches_are_the_convolution(variant):
    spec = tiny_spec(**VARIANTS[variant])
    vit = random_vit(spec, 0)
    images = make_batch(spec, 2)
    assert snr_db(run_eager(vit, images), run_eager(lower(vit, unfold=True), images)) > 110


@pytest.mark.parametrize("part", sorted(LAYERS))
def test_a_part_adds_its_own_layers_and_no_others(part):
    lowered = lower(random_vit(tiny_spec(), 0), unfold=True)
    added = set(find_linear_layers(lowered, [part])) - set(find_linear_layers(lowered))
    assert sorted(added) == LAYERS[part]


@pytest.mark.slow  # an export each
@pytest.mark.parametrize("precision", OPTIONS)
@pytest.mark.parametrize("part", PARTS)
def test_the_arithmetic_of_a_part_is_in_integers(part, precision):
    vit = random_vit(tiny_spec(**WIDE), 0)

    def count(*include):
        request = QuantizationRequest(precision, include=include)
        return macs_by_dtype(quantize_model(vit, request).graph)

    total = sum(count().values())
    assert sum(count(part).values()) == total
    assert count(part)["int8"] > count()["int8"]
    assert count(*PARTS) == {"int8": total}


@pytest.mark.parametrize("precision", ["int8", "int8-static"])
@pytest.mark.parametrize("include", [("attention",), PARTS], ids=["attention", "all"])
def test_the_runtime_rounds_as_fake_quantization_does(precision, include):
    vit = random_vit(tiny_spec(**WIDE), 0)
    image = make_batch(vit.spec, 1, seed=3)
    request = QuantizationRequest(precision, include=include)
    with fake_quantize(*make_plan_for(vit, request)) as lowered:
        rounded = run_eager(lowered, image)
    answer = run_graph(quantize_model(vit, request), image)
    assert snr_db(run_eager(vit, image), answer) > 20
    # softmax adds in another order: a probability between two steps may round to either of them
    assert snr_db(rounded, answer) > 45


@pytest.mark.parametrize("variant", mark_slow_except(sorted(VARIANTS), "distilled", "projection"))
def test_every_kind_of_attention_is_quantized(variant):
    vit = random_vit(tiny_spec(**VARIANTS[variant]), 0)
    model = quantize_model(vit, QuantizationRequest("int8", include=("attention",)))
    integer = [node for node in model.graph if node.op_type == "MatMulInteger"]
    lowered = lower(vit)
    assert len(integer) == len(find_linear_layers(lowered)) + 2 * len(
        find_attention_matmuls(lowered)
    )
    onnx.checker.check_model(ir.to_proto(model), full_check=True)


def test_an_attention_that_the_graph_lacks_is_a_failure():
    vit = random_vit(tiny_spec(), 0)
    lowered, plan = make_plan_for(vit, QuantizationRequest("int8", include=("attention",)))
    matmuls = next(iter(plan.attention_matmuls.values()))
    plan = QuantizationPlan(attention_matmuls={"blocks.7.attention.products": matmuls})
    with pytest.raises(BuildError, match=r"has no blocks\.7\.attention\.products"):
        quantize(make_graph(lowered, vit.spec), plan, "int8", "portable")


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("patches", VARIANTS["quick gelu, no biases"]),
        ("head", VARIANTS["quick gelu, no biases"]),
        ("head", VARIANTS["projection"]),
    ],
    ids=["patches", "classifier", "projection"],
)
def test_a_layer_without_a_bias_gets_one(part, changes, tmp_path):
    vit = random_vit(tiny_spec(**changes), 0)
    options = {"precision": "int8", "include": [part]}
    built = vit_export.onnx((vit.spec, vit.state_dict()), tmp_path / "f.onnx", **options)
    assert built.verdict.status == "PROVEN"
    layers = read_manifest(open_artifact(built.path), built.path).layers
    assert any(name.startswith(("embedding.", "head.")) for name in layers)


def test_a_part_without_layers_is_an_error():
    lowered = lower(random_vit(tiny_spec(classes=None), 0))
    with pytest.raises(RequestError, match="head of this model has no linear layer"):
        check_parts(lowered, ("head",))


@pytest.fixture(scope="module")
def built(shared_exports):
    """A file of each precision with all parts quantized, and the document of its export."""

    def list_words(name):
        return ("onnx", "--model", "fashion_mnist", "--precision", name, *OPTIONS[name], *ALL)

    return shared_exports("include", list_words)


@pytest.mark.parametrize("name", OPTIONS)
def test_a_file_with_all_parts_is_proven(name, built):
    path, document = built[name]
    assert document["verdict"]["status"] == "PROVEN"
    assert run_json("validate", path, "-q")["status"] == "PROVEN"
    macs = run_json("inspect", path)["audit"]["macs"]
    assert list(macs) == ["int8"]
    layers = read_manifest(open_artifact(path), path).layers
    assert {*LAYERS["patches"], *LAYERS["head"], "blocks.0.attention.products"} <= set(layers)


@pytest.mark.parametrize("name", OPTIONS)
def test_top_classes_on_500_test_images_stay(name, built, fashion_classes, fashion_inputs):
    after = predict_classes(built[name][0], fashion_inputs)
    assert (after == fashion_classes).mean() >= 0.98


def test_openvino_gives_the_same_answers(built):
    assert measure_snr_in_openvino(built["int8-static"][0]) > 20


def test_tensorrt_builds_an_engine(tmp_path):
    path = tmp_path / "f.onnx"
    vit_export.onnx(
        "fashion_mnist",
        path,
        precision="int8-static",
        flavour="tensorrt",
        calibration=CALIBRATION,
        include=PARTS,
    )
    assert build_with_tensorrt(path, (1, 28, 28)) > 1000


def test_locate_finds_a_fault_in_a_file_with_all_parts(built, tmp_path):
    assert run_json("locate", built["int8"][0], "-q")["first"] is None
    model = onnx.load(built["int8"][0])
    (weight,) = (
        one
        for one in model.graph.initializer
        if one.name.startswith("embedding.projection") and one.data_type == onnx.TensorProto.INT8
    )
    array = onnx.numpy_helper.to_array(weight)
    weight.CopyFrom(onnx.numpy_helper.from_array(np.roll(array, 7, axis=1), weight.name))
    onnx.save(model, tmp_path / "f.onnx")
    done = run("locate", tmp_path / "f.onnx", "--json", "-q", exit_code=4)
    assert json.loads(done.stdout)["location"]["first"] == "embedding"


@pytest.mark.slow
def test_auto_decides_on_patches_and_head_too(tmp_path):
    options = ("--model", "fashion_mnist", "--precision", "auto", "--min-snr", "20")
    parts = ("--include", "patches", "--include", "head")
    document = run_json("onnx", *options, *parts, "--out", tmp_path / "f.onnx", "-q")
    layers = {choice["layer"] for choice in document["search"]["choices"]}
    assert {*LAYERS["patches"], *LAYERS["head"]} <= layers


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--include", "head"), "means nothing with --precision fp32"),
        (("--precision", "fp16", "--include", "patches"), "means nothing"),
        (("--precision", "weights-int8", "--include", "attention"), "which attention's matmuls"),
        (("--precision", "auto", "--include", "attention"), "which attention's matmuls lack"),
        (
            ("--precision", "int8", "--scales", "token", "--include", "attention"),
            "does not fit attention",
        ),
        (
            ("--precision", "int8", "--for", "onnxruntime", "--include", "attention"),
            "own attention operator computes in fp32",
        ),
        (("--precision", "int8", "--include", "embedding"), "is not one of"),
        (
            ("--precision", "int8", "--include", "head", "--outputs", "features"),
            "no linear layer",
        ),
    ],
)
def test_a_combination_that_makes_no_sense_is_an_error(tmp_path, options, message):
    out = tmp_path / "f.onnx"
    command = ("onnx", "--model", "fashion_mnist", *options, "--out", out, "-q")
    assert message in expect_error(*command, exit_code=2)
    assert not out.exists()


def test_an_unknown_part_is_an_error_in_python(tmp_path):
    with pytest.raises(RequestError, match="No part is called 'heads'") as caught:
        vit_export.onnx("fashion_mnist", tmp_path / "f.onnx", precision="int8", include=["heads"])
    assert "Did you mean 'head'" in caught.value.fix
