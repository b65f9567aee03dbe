"""A graph captured with two blocks and repeated is the graph that is captured whole."""

import onnx_ir as ir
import pytest
from support import VARIANTS, rarely, tiny_spec

from vit_export.artifact.batch import Batch
from vit_export.graph import capture as capturing
from vit_export.graph.optimize import optimize
from vit_export.graph.repeat_blocks import repeat_block
from vit_export.graph.simplify import simplify
from vit_export.model.vit.lowering import lower
from vit_export.model.vit.state import random_vit

DEPTH = 4


def captured(spec, batch="dynamic"):
    module = lower(random_vit(spec, 0))
    made = Batch.parse(batch)
    model = capturing.capture(module, spec, output=spec.answer, opset=20, batch=made)
    model = simplify(model)
    optimize(model)
    return model


def wiring(model):
    """Every node: its operator, attributes, and what it reads by place or by name."""
    made = {value: i for i, node in enumerate(model.graph) for value in node.outputs}
    return [
        (
            node.op_type,
            str(node.attributes),
            [
                made.get(value, value.name if "." in value.name else constant(value))
                for value in node.inputs
            ],
        )
        for node in model.graph
    ]


def constant(value):
    return value.const_value.numpy().tolist() if value.is_initializer() else value.name


KINDS = ["paper", "seed", "swiglu, layer scale", "distilled", "attention pooling", "tokens"]


@pytest.mark.parametrize("kind", rarely(KINDS, "paper", "distilled", "tokens"))
def test_it_is_the_whole_graph(monkeypatch, kind):
    spec = tiny_spec(depth=DEPTH, **VARIANTS[kind])
    repeated = captured(spec)
    monkeypatch.setattr(capturing, "_shortened", lambda module: module)
    whole = captured(spec)
    assert wiring(repeated) == wiring(whole)
    names = [node.name for node in repeated.graph]
    assert len(set(names)) == len(names)


def test_of_a_fixed_batch_too(monkeypatch):
    repeated = captured(tiny_spec(depth=DEPTH), "3")
    monkeypatch.setattr(capturing, "_shortened", lambda module: module)
    whole = captured(tiny_spec(depth=DEPTH), "3")
    assert [node.op_type for node in repeated.graph] == [node.op_type for node in whole.graph]


def test_only_two_blocks_are_shown_to_the_exporter(monkeypatch):
    shown = []
    export = capturing.torch.onnx.export
    monkeypatch.setattr(
        capturing.torch.onnx,
        "export",
        lambda module, *rest, **more: shown.append(module) or export(module, *rest, **more),
    )
    captured(tiny_spec(depth=DEPTH))
    assert [len(module.blocks) for module in shown] == [2]


def test_blocks_that_share_more_than_constants_are_refused():
    """A value of the first block that two others read: copies could not be told apart."""
    model = ir.from_onnx_text(
        '<ir_version: 10, opset_import: ["" : 20]> '
        "agraph (float[2] x) => (float[2] y) { a = Neg(x) b = Exp(a) c = Add(a, b) y = Neg(c) }"
    )
    for node, name in zip(
        model.graph, ("blocks.0/a", "blocks.0/b", "blocks.1/c", "y"), strict=True
    ):
        node.name = name
    with pytest.raises(ValueError, match="too many values"):
        repeat_block(model, 3)
