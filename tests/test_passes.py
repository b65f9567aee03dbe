"""Every pass fires, leaves a near miss alone, changes nothing the second time, and is exact."""

from collections import Counter

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from support import SEED_STYLE, tiny_spec

from vit_export import BuildError
from vit_export.artifact.batch import Batch
from vit_export.graph.capture import capture
from vit_export.graph.optimize import optimize
from vit_export.graph.passes import PASSES, Pass
from vit_export.graph.passes.fix_reshapes import fix_reshapes
from vit_export.graph.passes.fuse_attention import fuse_attention
from vit_export.graph.passes.fuse_quick_gelu import fuse_quick_gelu
from vit_export.graph.passes.lift_constants import lift_constants
from vit_export.graph.passes.merge_chains import merge_chains
from vit_export.graph.passes.remove_full_slices import remove_full_slices
from vit_export.graph.passes.remove_unused import remove_unused
from vit_export.graph.passes.share_initializers import share_initializers
from vit_export.graph.passes.split_projections import split_projections
from vit_export.graph.passes.write_split_sizes import write_split_sizes
from vit_export.graph.save import save
from vit_export.graph.simplify import simplify
from vit_export.model.vit.lowering import lower
from vit_export.model.vit.state import random_vit

QUICK = {"mlp": "quick_gelu", "depth": 2}


def operators(model):
    return Counter(node.op_type for node in model.graph)


def captured(**changes):
    spec = tiny_spec(**changes)
    vit = random_vit(spec, 0)
    batch = Batch.parse("dynamic")
    return vit, capture(lower(vit), spec.signature, opset=20, batch=batch)


def run_file(model, path, images):
    """Save `model`, open the file and return its answers."""
    save(model, path, opset=20)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"image": images})[0]


def run_graph(model, feeds):
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    return session.run(None, feeds)[0]


HEAD = '<ir_version: 10, opset_import: ["" : 20]> '
X = np.random.RandomState(0).standard_normal((4, 6)).astype(np.float32)
BIG = "float[4, 6] w = {1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8,9,1,2,3,4,5,6}, float[4] b = {1,2,3,4}"
HALVES = f"<{BIG}, int64[2] sizes = {{2, 2}}>"
UNEQUAL = f"<{BIG}, int64[2] sizes = {{3, 1}}>"
GEMM = "Gemm <transB = 1>"
SPLIT = "Split <axis = -1>"
BASE = "agraph (float[4, 6] x) => (float[{shape}] y) "

SMALL = {
    "a constant": (
        lift_constants,
        "{ c = Constant <value = float[6] {1, 2, 3, 4, 5, 6}> () y = Add(x, c) }",
        "4, 6",
        {"Add": 1},
    ),
    "two transposes": (
        merge_chains,
        "{ a = Transpose <perm = [1, 0]> (x) d = Transpose <perm = [1, 0]> (a) y = Neg(d) }",
        "4, 6",
        {"Neg": 1},
    ),
    "two reshapes": (
        merge_chains,
        "<int64[2] s = {2, 12}, int64[2] t = {8, 3}> { a = Reshape(x, s) y = Reshape(a, t) }",
        "8, 3",
        {"Reshape": 1},
    ),
    "equal initializers": (
        share_initializers,
        "<float[1] s = {2}, float[1] t = {2}> { a = Mul(x, s) y = Add(a, t) }",
        "4, 6",
        {"Mul": 1, "Add": 1},
    ),
    "a node without a reader": (
        remove_unused,
        "{ a = Exp(x) y = Neg(x) }",
        "4, 6",
        {"Neg": 1},
    ),
    "a projection that is split": (
        split_projections,
        f"{HALVES} {{ a = {GEMM} (x, w, b) c, d = {SPLIT} (a, sizes) e = Exp(d) y = Sub(c, e) }}",
        "4, 2",
        {"Gemm": 2, "Exp": 1, "Sub": 1},
    ),
    "a projection that is split into unequal parts": (
        split_projections,
        f"{UNEQUAL} {{ a = {GEMM} (x, w, b) c, d = {SPLIT} (a, sizes) e = Exp(d) y = Sub(c, e) }}",
        "4, 3",
        {"Gemm": 2, "Exp": 1, "Sub": 1},
    ),
    "a split without sizes": (
        write_split_sizes,
        "{ a, b = Split <axis = -1, num_outputs = 2> (x) y = Sub(a, b) }",
        "4, 3",
        {"Split": 1, "Sub": 1},
    ),
    "quick gelu": (
        fuse_quick_gelu,
        "<float s = {1.702}> { a = Mul(x, s) b = Sigmoid(a) y = Mul(x, b) }",
        "4, 6",
        {"QuickGelu": 1},
    ),
}


@pytest.mark.parametrize(("change", "body", "shape", "left"), SMALL.values(), ids=SMALL.keys())
def test_a_pass_fires_and_is_exact(change, body, shape, left):
    text = HEAD + BASE.format(shape=shape) + body
    model, original = ir.from_onnx_text(text), ir.from_onnx_text(text)
    assert change(model) > 0
    if change is not remove_unused:
        remove_unused(model)
    assert operators(model) == left
    answer, expected = run_graph(model, {"x": X}), run_graph(original, {"x": X})
    np.testing.assert_allclose(answer, expected, rtol=1e-5, atol=1e-6)
    assert change(model) == 0


NEAR_MISSES = {
    "a reshape that copies axes": (
        merge_chains,
        "<int64[2] s = {2, 12}, int64[3] t = {0, 6, 2}> { a = Reshape(x, s) y = Reshape(a, t) }",
        "2, 6, 2",
    ),
    "a transpose that moves axes": (merge_chains, "{ y = Transpose <perm = [1, 0]> (x) }", "6, 4"),
    "initializers that differ": (
        share_initializers,
        "<float[1] s = {2}, float[1] t = {3}> { a = Mul(x, s) y = Add(a, t) }",
        "4, 6",
    ),
    "a projection with a second reader": (
        split_projections,
        f"{HALVES} {{ a = {GEMM} (x, w, b) c, d = {SPLIT} (a, sizes) e = Exp(a) y = Add(c, d) }}",
        "4, 2",
    ),
    "a projection that is split by rows": (
        split_projections,
        f"{HALVES} {{ a = {GEMM} (x, w, b) c, y = Split <axis = 0> (a, sizes) }}",
        "2, 4",
    ),
    "a projection that is split without sizes": (
        split_projections,
        f"<{BIG}> {{ a = {GEMM} (x, w, b) c, y = Split <axis = -1, num_outputs = 2> (a) }}",
        "4, 2",
    ),
    "a split with sizes": (
        write_split_sizes,
        f"<int64[2] sizes = {{2, 4}}> {{ a, y = {SPLIT} (x, sizes) }}",
        "4, 4",
    ),
    "a split of unknown length": (
        write_split_sizes,
        "<int64[2] s = {-1, 2}> { a = Reshape(x, s) b, y = Split <axis = 0, num_outputs = 2> (a) }",
        "6, 2",
    ),
    "a sigmoid of something else": (
        fuse_quick_gelu,
        "<float s = {1.702}> { a = Exp(x) c = Mul(a, s) b = Sigmoid(c) y = Mul(x, b) }",
        "4, 6",
    ),
}


@pytest.mark.parametrize(("change", "body", "shape"), NEAR_MISSES.values(), ids=NEAR_MISSES.keys())
def test_a_near_miss_stays(change, body, shape):
    model = ir.from_onnx_text(HEAD + BASE.format(shape=shape) + body)
    before = ir.to_proto(model)
    assert change(model) == 0
    assert ir.to_proto(model) == before


def test_the_last_part_of_an_uneven_split_is_smaller():
    text = HEAD + (
        "agraph (float[4, 7] x) => (float[4, 1] y) "
        "{ a, b, y = Split <axis = 1, num_outputs = 3> (x) }"
    )
    model = ir.from_onnx_text(text)
    assert write_split_sizes(model) == 1
    x = np.arange(28, dtype=np.float32).reshape(4, 7)
    expected = run_graph(ir.from_onnx_text(text), {"x": x})
    np.testing.assert_array_equal(run_graph(model, {"x": x}), expected)


@torch.no_grad()
def test_computed_shapes_become_constants():
    _, model = captured()
    lift_constants(model)
    assert fix_reshapes(model) > 0
    assert fix_reshapes(model) == 0
    remove_unused(model)
    assert operators(model)["Shape"] <= 1


@torch.no_grad()
def test_every_attention_of_a_vit_is_fused():
    _, model = captured(depth=3)
    model = simplify(model)
    assert fuse_attention(model) == 3
    assert operators(model)["Softmax"] == 3  # `remove_unused` removes it
    remove_unused(model)
    assert operators(model)["Softmax"] == 0
    assert fuse_attention(model) == 0


@torch.no_grad()
def test_attention_with_a_mask_stays():
    _, model = captured(depth=1)
    model = simplify(model)
    (softmax,) = [node for node in model.graph if node.op_type == "Softmax"]
    mask = ir.node("Add", [softmax.inputs[0], softmax.inputs[0]])
    model.graph.insert_before(softmax, mask)
    softmax.replace_input_with(0, mask.outputs[0])
    assert fuse_attention(model) == 0


@pytest.mark.parametrize("onnxsim", [True, False], ids=["onnxsim", "alone"])
@pytest.mark.parametrize("changes", [{}, SEED_STYLE, QUICK], ids=["paper", "seed", "quick gelu"])
@torch.no_grad()
def test_all_passes_together_keep_the_answers(tmp_path, onnxsim, changes):
    vit, model = captured(**changes)
    model = simplify(model) if onnxsim else model
    images = torch.randn(3, 3, 16, 24)
    for runtime_flavor in ("portable", "onnxruntime"):
        optimize(model, runtime_flavor)
        assert set(optimize(model, runtime_flavor).values()) == {0}
        answer = run_file(model, tmp_path / "f.onnx", images.numpy())
        np.testing.assert_allclose(answer, vit(images), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_an_error_names_the_pass_and_those_before_it(monkeypatch):
    def breaks_the_graph(model):
        model.graph.node(0).attributes["colour"] = ir.AttrString("colour", "red")
        return 1

    passes = (*PASSES[:2], Pass(breaks_the_graph, "a test"))
    monkeypatch.setattr("vit_export.graph.optimize.PASSES", passes)
    with pytest.raises(BuildError) as failure:
        optimize(captured(depth=1)[1])
    assert "pass breaks_the_graph failed: ValidationError" in failure.value.message
    assert "Passes before it: lift_constants, fix_reshapes." in failure.value.message


@pytest.mark.parametrize("changes", [{}, SEED_STYLE, QUICK], ids=["paper", "seed", "quick gelu"])
@torch.no_grad()
def test_lowering_leaves_nothing_to_the_general_passes(changes):
    _, model = captured(**changes)
    model = simplify(model)
    optimize(model)
    remove_full_slices(model)  # a pool over all tokens takes all of them
    remove_unused(model)
    changes = optimize(model, general=True)
    assert {name: count for name, count in changes.items() if count} == {}
