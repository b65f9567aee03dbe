"""--include: patches, head and attention in fewer bits, where they are asked for."""

import json

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from support import (
    FASHION,
    VARIANTS,
    Made,
    built_by_tensorrt,
    rarely,
    refused,
    run,
    run_json,
    tiny_spec,
    top_classes,
    worst_in_openvino,
)
from test_quantize import WIDE, answers, graph_of, images

import vit_export
from vit_export.artifact.precision import PARTS, QuantizationRequest
from vit_export.backends.open import open_artifact, read_manifest
from vit_export.core.errors import BuildError, RequestError
from vit_export.core.numerics import snr_db
from vit_export.core.progress import silent
from vit_export.graph.cost import macs_by_dtype
from vit_export.model.vit.lowering import lower
from vit_export.model.vit.state import random_vit
from vit_export.quantization.convert import quantize
from vit_export.quantization.fake_quant import played
from vit_export.quantization.layers import check_parts, linear_layers, products
from vit_export.quantization.observer import observe
from vit_export.quantization.plan import Plan
from vit_export.quantization.prepare import prepare

CALIBRATION = FASHION / "images"
ALL = [word for part in PARTS for word in ("--include", part)]
ASKED = {"int8": (), "int8-static": ("--calibration", CALIBRATION)}
WANTED = {"patches": ["embedding.projection"], "head": ["head.classifier"]}


def planned(vit, asked):
    lowered = lower(vit, unfold="patches" in asked.include)
    seen, _ = observe(lowered, images(vit.spec), asked.include)
    return lowered, prepare(lowered, asked, "portable", seen, silent)


def written(vit, asked):
    lowered, plan = planned(vit, asked)
    model = graph_of(lowered, vit.spec)
    quantize(model, plan, asked.precision, "portable")
    return model


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_unfolded_patches_are_the_convolution(variant):
    spec = tiny_spec(**VARIANTS[variant])
    vit = random_vit(spec, 0)
    image = torch.from_numpy(np.stack([one for _, one in images(spec, 2)]))
    with torch.no_grad():
        found, expected = lower(vit, unfold=True)(image), vit(image)
    assert snr_db(expected.numpy(), found.numpy()) > 110


@pytest.mark.parametrize("part", sorted(WANTED))
def test_a_part_adds_its_own_layers_and_no_others(part):
    lowered = lower(random_vit(tiny_spec(), 0), unfold=True)
    added = set(linear_layers(lowered, [part])) - set(linear_layers(lowered))
    assert sorted(added) == WANTED[part]


@pytest.mark.parametrize("precision", rarely(ASKED, "int8"))
@pytest.mark.parametrize("part", PARTS)
def test_what_is_included_is_done_in_integers(part, precision):
    vit = random_vit(tiny_spec(**WIDE), 0)
    without = macs_by_dtype(written(vit, QuantizationRequest(precision)).graph)
    found = macs_by_dtype(written(vit, QuantizationRequest(precision, include=(part,))).graph)
    everything = macs_by_dtype(written(vit, QuantizationRequest(precision, include=PARTS)).graph)
    assert sum(found.values()) == sum(without.values())
    assert found["int8"] > without["int8"]
    assert everything == {"int8": sum(without.values())}


@pytest.mark.parametrize("precision", ["int8", "int8-static"])
@pytest.mark.parametrize("include", [("attention",), PARTS], ids=["attention", "all"])
def test_the_runtime_rounds_as_it_was_played(precision, include):
    vit = random_vit(tiny_spec(**WIDE), 0)
    made = [one for _, one in images(vit.spec, seed=3)][:1]
    asked = QuantizationRequest(precision, include=include)
    lowered, plan = planned(vit, asked)
    with torch.no_grad(), played(lowered, plan):
        rounded = lowered(torch.from_numpy(made[0][None])).numpy()
    found = answers(written(vit, asked), made)
    with torch.no_grad():
        assert snr_db(vit(torch.from_numpy(made[0][None])).numpy(), found) > 20
    # softmax sums in another order: a share on the edge between two steps may fall to either side
    assert snr_db(rounded, found) > 45


@pytest.mark.parametrize("variant", rarely(sorted(VARIANTS), "distilled", "projection"))
def test_every_kind_of_attention_is_quantized(variant):
    vit = random_vit(tiny_spec(**VARIANTS[variant]), 0)
    model = written(vit, QuantizationRequest("int8", include=("attention",)))
    integer = [node for node in model.graph if node.op_type == "MatMulInteger"]
    lowered = lower(vit)
    assert len(integer) == len(linear_layers(lowered)) + 2 * len(products(lowered))
    onnx.checker.check_model(ir.to_proto(model), full_check=True)


def test_an_attention_that_the_graph_does_not_have_is_a_failure():
    vit = random_vit(tiny_spec(), 0)
    lowered, plan = planned(vit, QuantizationRequest("int8", include=("attention",)))
    plan = Plan(products={"blocks.7.attention.products": next(iter(plan.products.values()))})
    with pytest.raises(BuildError, match=r"has no blocks\.7\.attention\.products"):
        quantize(graph_of(lowered, vit.spec), plan, "int8", "portable")


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("patches", {"patch_bias": False}),
        ("head", {"head_bias": False}),
        ("head", VARIANTS["projection"]),
    ],
    ids=["patches", "classifier", "projection"],
)
def test_a_layer_without_a_bias_gets_one(part, changes, tmp_path):
    vit = random_vit(tiny_spec(**WIDE | changes), 0)
    asked = {"precision": "int8", "include": [part]}
    built = vit_export.onnx((vit.spec, vit.state_dict()), tmp_path / "f.onnx", **asked)
    assert built.verdict.status == "PROVEN"
    layers = read_manifest(open_artifact(built.path), built.path).layers
    assert any(name.startswith(("embedding.", "head.")) for name in layers)


def test_a_part_without_layers_is_refused():
    lowered = lower(random_vit(tiny_spec(classes=None), 0))
    with pytest.raises(RequestError, match="head of this model has no linear layer"):
        check_parts(lowered, ("head",))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A file of each precision with all parts in it, with what building it told."""
    folder = tmp_path_factory.mktemp("included")

    def make(name):
        out = folder / f"{name}.onnx"
        asked = ("--model", "fashion_mnist", "--precision", name, *ASKED[name], *ALL)
        return out, run_json("onnx", *asked, "--out", out, "-q")

    return Made(make)


@pytest.mark.parametrize("name", ASKED)
def test_a_file_with_everything_included_is_proven(name, built):
    path, told = built[name]
    assert told["verdict"]["status"] == "PROVEN"
    assert run_json("validate", path, "-q")["status"] == "PROVEN"
    macs = run_json("inspect", path)["audit"]["macs"]
    assert list(macs) == ["int8"]
    layers = read_manifest(open_artifact(path), path).layers
    assert {*WANTED["patches"], *WANTED["head"], "blocks.0.attention.products"} <= set(layers)


@pytest.mark.parametrize("name", ASKED)
def test_answers_on_500_test_images_stay(name, built, fashion, fashion_inputs):
    before = top_classes(fashion.path["onnx"], fashion_inputs)
    assert (top_classes(built[name][0], fashion_inputs) == before).mean() >= 0.98


def test_openvino_answers_alike(built):
    assert worst_in_openvino(built["int8-static"][0]) > 20


def test_tensorrt_builds_it(tmp_path):
    path = tmp_path / "f.onnx"
    vit_export.onnx(
        "fashion_mnist",
        path,
        precision="int8-static",
        flavour="tensorrt",
        calibration=CALIBRATION,
        include=PARTS,
    )
    assert built_by_tensorrt(path, (1, 28, 28)) > 1000


def test_a_file_with_everything_included_is_located(built, tmp_path):
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
    asked = ("--model", "fashion_mnist", "--precision", "auto", "--min-snr", "20")
    out = tmp_path / "f.onnx"
    told = run_json("onnx", *asked, "--include", "patches", "--include", "head", "--out", out, "-q")
    layers = {choice["layer"] for choice in told["search"]["choices"]}
    assert {*WANTED["patches"], *WANTED["head"]} <= layers


@pytest.mark.parametrize(
    ("options", "told"),
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
def test_requests_that_make_no_sense(tmp_path, options, told):
    out = tmp_path / "f.onnx"
    asked = ("--model", "fashion_mnist", *options)
    assert told in refused("onnx", *asked, "--out", out, "-q", exit_code=2)
    assert not out.exists()


def test_a_part_that_does_not_exist_is_refused_from_python(tmp_path):
    with pytest.raises(RequestError, match="No part is called 'heads'") as caught:
        vit_export.onnx("fashion_mnist", tmp_path / "f.onnx", precision="int8", include=["heads"])
    assert "Did you mean 'head'" in caught.value.fix
