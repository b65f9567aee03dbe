"""The ONNX graph: what it contains, what it must not contain, and how it is saved."""

import re
from collections import Counter

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from support import SEED_STYLE, VARIANTS, mark_slow_except, tiny_spec

from vit_export.artifact.batch import Batch
from vit_export.core.errors import BuildError
from vit_export.graph.capture import capture
from vit_export.graph.optimize import optimize
from vit_export.graph.protobuf import write_model
from vit_export.graph.save import save
from vit_export.graph.simplify import simplify
from vit_export.model.vit.lowering import lower
from vit_export.model.vit.state import random_vit

ONE_BLOCK = tiny_spec(depth=1, **SEED_STYLE)


def captured(spec=ONE_BLOCK, opset=20, batch="dynamic"):
    vit = random_vit(spec, 0)
    return vit, capture(lower(vit), spec.signature, opset=opset, batch=Batch.parse(batch))


def operators(model):
    return Counter(node.op_type for node in model.graph)


@pytest.fixture(scope="module")
def graph():
    return captured()[1]


def test_the_graph_computes_no_shape_but_the_batch(graph):
    counts = operators(graph)
    assert counts["Einsum"] == 0
    assert counts["Shape"] <= 1
    assert counts["Gather"] == 0
    assert counts["Gelu"] == ONE_BLOCK.depth
    assert counts["LayerNormalization"] == 2 * ONE_BLOCK.depth + 1
    assert counts["Softmax"] == ONE_BLOCK.depth


def test_a_graph_of_a_fixed_batch_computes_no_shape():
    _, model = captured(batch="2")
    assert not {"Shape", "Expand"} & set(operators(simplify(model)))


def test_attention_is_not_scaled_again(graph):
    """The exporter's own attention multiplies twice by the root of a scale that lowering folded."""
    assert operators(graph)["Mul"] == 0
    assert operators(graph)["Sqrt"] == 0


def test_nodes_are_named_after_their_modules(graph):
    names = [node.name for node in simplify(graph).graph]
    assert "blocks.0.attention.products/Softmax" in names
    assert "embedding.projection/Conv" in names
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("batch", "size", "classes", "output"),
    [("dynamic", "batch", 5, "logits"), ("4", 4, 5, "logits"), ("1", 1, None, "features")],
)
def test_inputs_and_outputs_have_names_and_sizes(tmp_path, batch, size, classes, output):
    _, model = captured(tiny_spec(depth=1, classes=classes), batch=batch)
    save(simplify(model), tmp_path / "f.onnx", opset=20)
    session = onnxruntime.InferenceSession(tmp_path / "f.onnx")
    (image,), (answer,) = session.get_inputs(), session.get_outputs()
    assert (image.name, image.shape, image.type) == ("image", [size, 3, 16, 24], "tensor(float)")
    assert (answer.name, answer.shape) == (output, [size, classes or 24])


@pytest.mark.parametrize("opset", mark_slow_except(range(18, 23), 18, 20, 22))
def test_a_file_has_the_requested_opset(tmp_path, opset):
    vit, model = captured(opset=opset)
    save(simplify(model), tmp_path / "f.onnx", opset=opset)
    proto = onnx.load(tmp_path / "f.onnx")
    assert [(entry.domain, entry.version) for entry in proto.opset_import] == [("", opset)]
    assert proto.ir_version == {18: 8, 19: 9, 20: 9, 21: 10, 22: 10}[opset]
    assert_answers_like(vit, tmp_path / "f.onnx")


@pytest.mark.parametrize("opset", mark_slow_except(range(18, 23), 18, 20, 22))
@pytest.mark.parametrize("onnxsim", [True, False], ids=["onnxsim", "alone"])
def test_every_split_has_its_sizes(tmp_path, opset, onnxsim):
    """WebGPU in onnxruntime-web refuses a Split with `num_outputs`."""
    vit, model = captured(opset=opset)
    model = simplify(model) if onnxsim else model
    optimize(model)
    save(model, tmp_path / "f.onnx", opset=opset)
    (split,) = [n for n in onnx.load(tmp_path / "f.onnx").graph.node if n.op_type == "Split"]
    assert len(split.input) == 2
    assert [attribute.name for attribute in split.attribute] == ["axis"]
    assert_answers_like(vit, tmp_path / "f.onnx")


def test_a_graph_of_another_opset_is_not_written(tmp_path, graph):
    with pytest.raises(BuildError, match="not 18"):
        save(graph, tmp_path / "f.onnx", opset=18)
    assert not (tmp_path / "f.onnx").exists()


def assert_answers_like(vit, path, size=3):
    images = torch.randn(size, vit.spec.channels, *vit.spec.image_size)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {"image": images.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(answer, vit(images).numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_every_kind_of_vit_is_captured(tmp_path, changes):
    spec = tiny_spec(**changes)
    vit, model = captured(spec)
    model = simplify(model)
    for runtime_flavor in ("portable", "onnxruntime"):
        optimize(model, runtime_flavor)
        save(model, tmp_path / "f.onnx", opset=20)
        assert_answers_like(vit, tmp_path / "f.onnx")
    assert operators(model)["MultiHeadAttention"] == spec.depth
    # the halves of rotary pairs change places
    assert operators(model)["Split"] == 0 or spec.rotary is not None


def test_the_reference_implementation_of_onnx_agrees(tmp_path):
    """It shares no code with ONNX Runtime, so the file means what the standard says."""
    vit, model = captured()
    save(simplify(model), tmp_path / "f.onnx", opset=20)
    images = torch.randn(2, 3, 16, 24)
    (answer,) = ReferenceEvaluator(str(tmp_path / "f.onnx")).run(None, {"image": images.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(answer, vit(images).numpy(), rtol=1e-4, atol=1e-5)


def test_simplifying_removes_and_never_adds(graph):
    before, after = operators(graph), operators(simplify(graph.clone()))
    assert sum(after.values()) <= sum(before.values())
    assert after["Gemm"] <= before["Gemm"]
    assert set(after) <= set(before)


def test_onnxsim_leaves_no_notes_in_the_graph(graph):
    simplified = simplify(graph.clone())
    items = (simplified, simplified.graph, *simplified.graph)
    assert {key for item in items for key in item.metadata_props} == set()


def test_notes_of_onnxsim_on_graphs_and_nodes_go_too(monkeypatch, graph):
    """Other versions of onnxsim may put them elsewhere; other metadata stays."""

    def annotate(proto, **_):
        for item in (proto, proto.graph, *proto.graph.node):
            item.metadata_props.add(key="onnxsim.removed_nodes", value="3")
            item.metadata_props.add(key="author", value="us")
        return proto, True

    monkeypatch.setattr("onnxsim.simplify", annotate)
    simplified = simplify(graph.clone())
    for item in (simplified, simplified.graph, *simplified.graph):
        assert dict(item.metadata_props) == {"author": "us"}


def test_a_failure_of_onnxsim_is_a_build_error(monkeypatch, graph):
    def broken(*_, **__):
        raise RuntimeError("segment of doom")

    monkeypatch.setattr("onnxsim.simplify", broken)
    with pytest.raises(BuildError, match="segment of doom") as failure:
        simplify(graph.clone())
    assert "--no-simplify" in failure.value.fix


def test_weights_too_large_for_one_file_stand_beside_it(tmp_path, graph):
    vit, model = captured()
    out = tmp_path / "f.onnx"
    save(simplify(model), out, opset=20, largest_file_bytes=20_000)
    (data,) = tmp_path.glob("f.onnx.*.data")
    assert re.fullmatch(r"f\.onnx\.[0-9a-f]{12}\.data", data.name)
    assert out.stat().st_size < 20_000 < data.stat().st_size
    assert_answers_like(vit, out)
    assert operators(ir.load(out)) == operators(simplify(graph.clone()))


def test_a_file_holds_no_path_of_this_machine(tmp_path, graph):
    save(simplify(graph.clone()), tmp_path / "f.onnx", opset=20)
    content = (tmp_path / "f.onnx").read_bytes()
    for trace in (b"einops", b"rearrange", b".py", b"site-packages", b"/home", b"vit_export/"):
        assert trace not in content


LENGTHS = [0, 1, 31, 32, 33, 2**12 - 1, 2**12, 2**19]
"""Numbers of four bytes each: lengths near 2**7, 2**14 and 2**21, where a varint gets longer."""


def test_the_streamed_file_is_what_protobuf_would_write(tmp_path):
    """Protobuf itself parses the file: nothing is lost or added at any length of a varint."""
    model = captured()[1]
    for size in LENGTHS:
        tensor = ir.tensor(np.arange(size, dtype=np.float32), name=f"weight_{size}")
        model.graph.register_initializer(ir.Value(name=tensor.name, const_value=tensor))
    expected = {
        value.name: value.const_value.numpy() for value in model.graph.initializers.values()
    }
    weights = {name: model.graph.initializers.pop(name).const_value for name in list(expected)}
    write_model(ir.to_proto(model), weights, tmp_path / "f.onnx")
    proto = onnx.load(tmp_path / "f.onnx")
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    assert tensors.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(tensors[name], values)
    del proto.graph.initializer[:]
    assert proto == ir.to_proto(model)


def test_an_invalid_graph_is_not_written(tmp_path):
    model = captured()[1]
    model.graph.node(0).attributes["colour"] = ir.AttrString("colour", "red")
    with pytest.raises(BuildError, match="not valid ONNX"):
        save(model, tmp_path / "f.onnx", opset=20)
    assert not (tmp_path / "f.onnx").exists()
