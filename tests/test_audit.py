"""The audit counts the nodes of a graph, names missing fusions, and computes the arithmetic."""

from dataclasses import replace

import onnx_ir as ir
import pytest
import torch
from support import VARIANTS, mark_slow_except, run, run_json, tiny_spec
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from vit_export import BuildError, VitSpec, onnx
from vit_export.artifact.batch import Batch
from vit_export.artifact.precision import find_wrong_arithmetic
from vit_export.graph.audit import audit
from vit_export.graph.capture import capture
from vit_export.graph.optimize import optimize
from vit_export.graph.passes import PASSES
from vit_export.graph.simplify import simplify
from vit_export.model.vit.lowering import lower
from vit_export.model.vit.presets import list_presets, load_preset
from vit_export.model.vit.state import random_vit
from vit_export.model.vit.vit import Vit


def build(spec, opset=20):
    vit = random_vit(spec, 0)
    with torch.no_grad():
        model = capture(lower(vit), spec.signature, opset=opset, batch=Batch.parse("dynamic"))
    model = simplify(model)
    optimize(model)
    return model


def break_node(model, op_type):
    """Replace the operator of the first node of this type, as if a fusion had failed."""
    node = next(node for node in model.graph if node.op_type == op_type)
    node.op_type = "Identity"
    return model


@pytest.mark.parametrize("name", mark_slow_except(list_presets(), "vit_tiny_patch16_224"))
def test_every_fusion_of_every_preset_succeeds(name):
    """The presets are made narrow and short here, which leaves the kinds of nodes as they are."""
    spec = load_preset(name).spec
    sizes = {"depth": 3, "width": 48, "heads": 3, "mlp_hidden": 40}
    small = replace(spec, **sizes, patch_size=8, image_size=(16, 16))
    model = build(small)
    for runtime_flavor in ("portable", "onnxruntime"):
        optimize(model, runtime_flavor)
        report = audit(model, small.expected_fusions)
        assert report.missing == []
        assert [fusion.expected for fusion in report.fusions][::2] == [3, 3]


ACTIVATIONS = ["paper", "gelu tanh", "quick gelu, no biases", "swiglu, layer scale"]


@pytest.mark.parametrize("opset", mark_slow_except([18, 20], 20))
@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_every_activation_is_recognized_at_every_opset(opset, kind):
    spec = tiny_spec(**VARIANTS[kind])
    assert audit(build(spec, opset=opset), spec.expected_fusions).missing == []


@pytest.mark.parametrize(
    ("op_type", "message"),
    [
        ("LayerNormalization", "LayerNorm 4/5"),
        ("Gelu", "activation (Gelu) 1/2"),
        ("Softmax", "attention 1/2"),
    ],
)
def test_a_missing_fusion_is_named(op_type, message):
    spec = tiny_spec()
    (missing,) = audit(break_node(build(spec), op_type), spec.expected_fusions).missing
    assert missing.startswith(message)


def test_a_model_of_unknown_form_has_an_audit_without_fusions():
    spec = tiny_spec(depth=1)
    model = build(spec)
    report = audit(model, None)
    assert (report.fusions, report.missing) == ((), [])
    assert report == replace(audit(model, spec.expected_fusions), fusions=())


def test_a_missing_fusion_fails_the_build_of_a_preset(tmp_path, monkeypatch):
    def optimize_badly(model, runtime_flavor, **options):
        changes = optimize(model, runtime_flavor, **options)
        break_node(model, "LayerNormalization")
        return changes

    monkeypatch.setattr("vit_export.graph.make_graph.optimize", optimize_badly)
    with pytest.raises(BuildError, match=r"a fusion did not happen: LayerNorm 8/9"):
        onnx("fashion_mnist", tmp_path / "f.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["paper", "attention pooling", "tokens"])
def test_the_audit_counts_the_flops_that_pytorch_counts(kind):
    spec = tiny_spec(**VARIANTS[kind])
    lowered = lower(random_vit(spec, 0))
    plain_attention = sdpa_kernel(SDPBackend.MATH)  # the counter ignores the CPU's fused attention
    with FlopCounterMode(display=False) as counter, torch.no_grad(), plain_attention:
        lowered(torch.zeros(1, 3, 16, 24))
    model = build(spec)
    for runtime_flavor in ("portable", "onnxruntime"):
        optimize(model, runtime_flavor)
        assert audit(model, None).flops == counter.get_total_flops()


def test_a_lowered_vit_b_does_less_arithmetic_than_the_plain_model():
    """A class-token ViT-B/16 needs less than 0.94 of the operations of its layers."""
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
    saved = shorter.get_total_flops() - audit(build(small), None).flops
    assert 1 - saved / counter.get_total_flops() <= 0.94


def test_inspect_prints_the_audit(fashion):
    path = fashion.path["onnx"]
    document = run_json("inspect", path)
    report = document["audit"]
    counts = [f"{one['found']}/{one['expected']}" for one in report["fusions"]]
    assert counts == ["4/4", "9/9", "4/4"]
    assert (report["opset"], report["ir_version"], report["dynamic_axes"]) == (20, 9, ["batch"])
    assert sum(report["operators"].values()) == report["nodes"]
    assert document["size_bytes"] == path.stat().st_size
    metadata = document["metadata"]
    assert metadata["weights"] == "fashion_mnist.safetensors"
    stages = [metadata[f"graph: nodes {stage}"] for stage in ("captured", "after onnxsim")]
    assert int(stages[0]) > int(stages[1]) >= report["nodes"]
    passes = {f"graph: {one.name}" for one in PASSES} & metadata.keys()
    assert "graph: share_initializers" in passes
    assert all(int(metadata[name]) > 0 for name in passes)  # others changed nothing
    text = run("inspect", path).stdout
    assert "attention 4/4" in text
    assert "opset 20, IR 9" in text


def test_a_graph_without_shapes_is_an_error():
    model = build(tiny_spec(depth=1))
    next(node for node in model.graph if node.op_type == "Gemm").outputs[0].shape = None
    with pytest.raises(ValueError, match="has no shape"):
        audit(model, None)


def test_stored_numbers_are_counted_by_type():
    model = build(tiny_spec())
    floats = [v for v in model.graph.initializers.values() if v.dtype == ir.DataType.FLOAT]
    assert audit(model, None).dtypes["FLOAT"] == sum(value.const_value.size for value in floats)


@pytest.mark.parametrize(
    ("counts", "precision", "accept", "problem"),
    [
        ({"int8": 1, "fp32": 1}, "int8", (), None),
        ({"fp32": 51, "int8": 49}, "int8", (), "is not int8: of its MACs 51 in fp32, 49 in int8"),
        ({"fp32 x int8": 1}, "int8", (), "is not int8: of its MACs 1 in fp32 x int8"),
        ({"fp32": 2, "int8": 1, "fp16": 1}, "fp16", ("int8",), None),
        ({}, "fp16", (), "is not fp16: of its MACs none"),
        ({"fp32": 1}, "auto", (), None),
    ],
)
def test_half_of_the_arithmetic_has_to_be_in_the_precision(counts, precision, accept, problem):
    assert find_wrong_arithmetic(counts, precision, unit="MACs", accept=accept) == problem
