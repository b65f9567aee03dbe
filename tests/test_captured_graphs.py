"""One capture serves all tests that export the same module, and no others."""

import captured_graphs
import pytest
from captured_graphs import CapturedGraphs, fingerprint
from support import tiny_spec

from vit_export.artifact.batch import Batch
from vit_export.graph import capture as capturing
from vit_export.model.vit.lowering import lower
from vit_export.model.vit.state import random_vit


def lowered(seed=0, **changes):
    return lower(random_vit(tiny_spec(**changes), seed))


def test_weights_make_no_difference():
    assert fingerprint(lowered(seed=1)) == fingerprint(lowered(seed=2))


@pytest.mark.parametrize(
    "changes", [{"depth": 3}, {"mlp": "quick_gelu"}, {"heads": 4}, {"classes": 6}, {"pool": "mean"}]
)
def test_everything_else_does(changes):
    assert fingerprint(lowered()) != fingerprint(lowered(**changes))


def test_other_code_captures_again(monkeypatch):
    before = fingerprint(lowered())
    monkeypatch.setattr(captured_graphs, "own_code", lambda: "changed")
    assert fingerprint(lowered()) != before


def test_a_graph_is_captured_once_for_the_same_request(tmp_path, monkeypatch):
    calls = []
    export = capturing.torch.onnx.export

    def count(*arguments, **options):
        calls.append(options["opset_version"])
        return export(*arguments, **options)

    monkeypatch.setattr(capturing.torch.onnx, "export", CapturedGraphs(count, tmp_path))
    spec, batch = tiny_spec(), Batch.parse("dynamic")
    graphs = [
        capturing.capture(lowered(seed), spec.signature, opset=opset, batch=batch)
        for seed, opset in ((0, 20), (1, 20), (0, 18))
    ]
    assert calls == [20, 18]
    first, second, _ = graphs
    assert [node.name for node in first.graph] == [node.name for node in second.graph]
    weights = [model.graph.initializers["blocks.0.mlp.expand.weight"] for model in (first, second)]
    ours, theirs = (value.const_value.numpy() for value in weights)
    assert (ours != theirs).any()
