"""The audit counts what is in a graph, names what is missing, and knows its arithmetic."""

from dataclasses import replace

import onnx_ir as ir
import pytest
import torch
from support import run, run_json, tiny_spec
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from vit_export import BuildError, VitSpec, onnx
from vit_export.artifact.batch import Batch
from vit_export.graph.audit import audit
from vit_export.graph.capture import capture
from vit_export.graph.optimize import optimize
from vit_export.graph.passes import PASSES
from vit_export.graph.simplify import simplify
from vit_export.model.vit.lowering import lower
from vit_export.model.vit.presets import load_preset, preset_names
from vit_export.model.vit.state import random_vit
from vit_export.model.vit.vit import Vit


def built(spec, flavour="portable", opset=20):
    vit = random_vit(spec, 0)
    batch = Batch.parse("dynamic")
    with torch.no_grad():
        model = capture(lower(vit), spec, output=spec.answer, opset=opset, batch=batch)
    model = simplify(model)
    optimize(model, flavour)
    return model


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_fused_whole(name):
    """Narrow and short, but of the same form."""
    spec = load_preset(name).spec
    size = (2 * spec.patch_size, 2 * spec.patch_size)
    small = replace(spec, depth=3, width=48, heads=3, mlp_hidden=40, image_size=size)
    model = built(small)
    for flavour in ("portable", "onnxruntime"):
        optimize(model, flavour)
        found = audit(model, small)
        assert found.missing == []
        assert [fusion.expected for fusion in found.fusions][::2] == [3, 3]


@pytest.mark.parametrize("opset", [18, 20])
@pytest.mark.parametrize("mlp", ["gelu", "gelu_tanh", "quick_gelu", "swiglu"])
def test_every_activation_at_every_opset(opset, mlp):
    spec = tiny_spec(mlp=mlp)
    assert audit(built(spec, opset=opset), spec).missing == []


def broken(model, op_type):
    """One node of that type in pieces, as another exporter might leave it."""
    node = next(node for node in model.graph if node.op_type == op_type)
    node.op_type = "Identity"
    return model


@pytest.mark.parametrize(
    ("op_type", "told"),
    [
        ("LayerNormalization", "LayerNorm 4/5"),
        ("Gelu", "activation (Gelu) 1/2"),
        ("Softmax", "attention 1/2"),
    ],
)
def test_what_is_missing_is_named(op_type, told):
    spec = tiny_spec()
    (missing,) = audit(broken(built(spec), op_type), spec).missing
    assert missing.startswith(told)


def test_a_missing_fusion_fails_the_build_of_a_preset(tmp_path, monkeypatch):
    monkeypatch.setattr("vit_export.graph.optimize.PASSES", ())
    monkeypatch.setattr(
        "vit_export.graph.optimize.optimize", lambda model, _: broken(model, "LayerNormalization")
    )
    with pytest.raises(BuildError, match=r"a fusion did not happen: LayerNorm 8/9"):
        onnx("fashion_mnist", tmp_path / "f.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("changes", [{}, {"pool": "map"}, {"pool": "none", "classes": None}])
def test_flops_are_those_that_pytorch_counts(changes):
    spec = tiny_spec(**changes)
    lowered = lower(random_vit(spec, 0))
    products = sdpa_kernel(SDPBackend.MATH)  # the counter knows no fused attention of the CPU
    with FlopCounterMode(display=False) as counter, torch.no_grad(), products:
        lowered(torch.zeros(1, 3, 16, 24))
    model = built(spec)
    for flavour in ("portable", "onnxruntime"):
        optimize(model, flavour)
        assert audit(model, spec).flops == counter.get_total_flops()


def test_arithmetic_of_vit_b_against_the_plain_model():
    """Of a class-token ViT-B/16 less than 0.94 of what its layers would cost."""
    spec = VitSpec(classes=1000)
    with torch.device("meta"):
        vit, image = Vit(spec).eval(), torch.empty(1, 3, 224, 224)
    with FlopCounterMode(display=False) as counter:
        vit(image)
    small = replace(spec, depth=2)
    with torch.device("meta"):
        short = Vit(small).eval()
    with FlopCounterMode(display=False) as shorter:
        short(image)
    saved = shorter.get_total_flops() - audit(built(small), small).flops
    assert 1 - saved / counter.get_total_flops() <= 0.94


def test_inspect_prints_it(fashion):
    path = fashion.path["onnx"]
    told = run_json("inspect", path)
    found = told["audit"]
    counts = [f"{one['found']}/{one['expected']}" for one in found["fusions"]]
    assert counts == ["4/4", "9/9", "4/4"]
    assert (found["opset"], found["ir_version"], found["dynamic_axes"]) == (20, 10, ["batch"])
    assert sum(found["operators"].values()) == found["nodes"]
    assert told["size_bytes"] == path.stat().st_size
    assert told["metadata"]["weights"] == "fashion_mnist.safetensors"
    stages = [told["metadata"][f"graph: nodes {stage}"] for stage in ("captured", "after onnxsim")]
    assert int(stages[0]) > int(stages[1]) >= found["nodes"]
    assert {f"graph: {one.name}" for one in PASSES} <= told["metadata"].keys()
    text = run("inspect", path).stdout
    assert "attention 4/4" in text
    assert "opset 20, IR 10" in text


def test_a_graph_without_shapes_is_refused():
    model = built(tiny_spec(depth=1))
    next(node for node in model.graph if node.op_type == "Gemm").outputs[0].shape = None
    with pytest.raises(ValueError, match="has no shape"):
        audit(model, tiny_spec(depth=1))


def test_numbers_are_counted_by_type():
    spec = tiny_spec()
    model = built(spec)
    found = audit(model, spec).dtypes
    floats = [v for v in model.graph.initializers.values() if v.dtype == ir.DataType.FLOAT]
    assert found["FLOAT"] == sum(value.const_value.size for value in floats)
