"""A graph captured with two blocks and repeated equals the graph captured with all blocks."""

import onnx_ir as ir
import pytest
from support import VARIANTS, mark_slow_except, tiny_spec

from vit_export.artifact.batch import Batch
from vit_export.graph import capture as capturing
from vit_export.graph.optimize import optimize
from vit_export.graph.repeat_blocks import repeat_blocks
from vit_export.graph.simplify import simplify
from vit_export.model.vit.lowering import lower
from vit_export.model.vit.state import random_vit

DEPTH = 4


def captured(spec, batch="dynamic"):
    module = lower(random_vit(spec, 0))
    batch = Batch.parse(batch)
    model = capturing.capture(module, spec.signature, opset=20, batch=batch)
    model = simplify(model)
    optimize(model)
    return model


def wiring(model):
    """Return each node: operator, attributes, inputs (number of a node, name, or constant)."""
    numbers = {value: i for i, node in enumerate(model.graph) for value in node.outputs}
    return [
        (
            node.op_type,
            str(node.attributes),
            [
                numbers.get(value, value.name if "." in value.name else to_constant(value))
                for value in node.inputs
            ],
        )
        for node in model.graph
    ]


def to_constant(value):
    return value.const_value.numpy().tolist() if value.is_initializer() else value.name


KINDS = ["paper", "seed", "swiglu, layer scale", "distilled", "attention pooling", "tokens"]


@pytest.mark.parametrize("kind", mark_slow_except(KINDS, "distilled"))
def test_a_repeated_graph_equals_a_whole_one(monkeypatch, kind):
    spec = tiny_spec(depth=DEPTH, **VARIANTS[kind])
    repeated = captured(spec)
    monkeypatch.setattr(capturing, "_keep_two_blocks", lambda module: module)
    whole = captured(spec)
    assert wiring(repeated) == wiring(whole)
    names = [node.name for node in repeated.graph]
    assert len(set(names)) == len(names)


@pytest.mark.slow
def test_a_graph_of_a_fixed_batch_does_too(monkeypatch):
    repeated = captured(tiny_spec(depth=DEPTH), "3")
    monkeypatch.setattr(capturing, "_keep_two_blocks", lambda module: module)
    whole = captured(tiny_spec(depth=DEPTH), "3")
    assert [node.op_type for node in repeated.graph] == [node.op_type for node in whole.graph]


def test_the_exporter_gets_only_two_blocks(monkeypatch):
    exported = []
    export = capturing.torch.onnx.export
    monkeypatch.setattr(
        capturing.torch.onnx,
        "export",
        lambda module, *rest, **more: exported.append(module) or export(module, *rest, **more),
    )
    captured(tiny_spec(depth=DEPTH))
    assert [len(module.blocks) for module in exported] == [2]


def test_a_block_with_two_outputs_is_refused():
    """Two values of the first block have readers outside: only one can lead to the next block."""
    model = ir.from_onnx_text(
        '<ir_version: 10, opset_import: ["" : 20]> '
        "agraph (float[2] x) => (float[2] y) { a = Neg(x) b = Exp(a) c = Add(a, b) y = Neg(c) }"
    )
    for node, name in zip(
        model.graph, ("blocks.0/a", "blocks.0/b", "blocks.1/c", "y"), strict=True
    ):
        node.name = name
    with pytest.raises(ValueError, match="too many values"):
        repeat_blocks(model, 3)
