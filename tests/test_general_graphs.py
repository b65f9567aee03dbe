"""The general way brings a module's own code to the form that lowering writes by hand."""

import re

import pytest
import torch
from general_graphs import assert_answers_like, capture_module, operators
from support import SEED_STYLE, mark_slow_except, tiny_spec
from torch import nn

from vit_export.artifact.batch import Batch
from vit_export.graph.capture import capture
from vit_export.graph.optimize import optimize
from vit_export.graph.patterns import find_linears
from vit_export.graph.simplify import simplify
from vit_export.model.program.export import export_program
from vit_export.model.program.lowered import LoweredProgram
from vit_export.model.signature import image_signature
from vit_export.model.vit.lowering import lower
from vit_export.model.vit.state import random_vit

DEPTH = 3
STYLES = {
    "paper": {},
    "seed": SEED_STYLE,
    "layer scale": {"layer_scale": True},
    "quick gelu": {"mlp": "quick_gelu"},
}


def graph_of(module, *, general):
    model = simplify(capture_module(module))
    optimize(model, "onnxruntime", general=general)
    return model


@pytest.mark.parametrize("style", mark_slow_except(STYLES, "seed"))
@torch.no_grad()
def test_an_einops_vit_becomes_what_lowering_writes(style):
    vit = random_vit(tiny_spec(depth=DEPTH, **STYLES[style]), 0).eval()
    general, lowered = graph_of(vit, general=True), graph_of(lower(vit), general=False)
    ours, theirs = operators(general), operators(lowered)
    for operator in ("MultiHeadAttention", "LayerNormalization", "Gelu", "QuickGelu", "MatMul"):
        assert ours[operator] == theirs[operator], operator
    assert ours["MultiHeadAttention"] == DEPTH
    assert ours["Einsum"] == ours["Mul"] == 0
    assert len(find_linears(general.graph)) >= len(find_linears(lowered.graph)) - 1
    assert len(general.graph) <= 1.2 * len(lowered.graph)
    assert_answers_like(general, vit)
    assert set(optimize(general, "onnxruntime", general=True).values()) == {0}


class Rows(nn.Module):
    """Rows of all images: their number is a multiple of the batch."""

    def forward(self, images):
        rows = images.flatten(2).mT.flatten(0, 1) * 2  # (B·N, C)
        return rows.unflatten(0, (images.shape[0], -1)).mean(1)


def test_the_free_dimension_is_called_batch_inside_expressions_too():
    shape = (3, 16, 24)
    program = LoweredProgram(export_program(Rows(), shape, None, "Rows"))
    signature, batch = image_signature(shape, "tensor", (3,)), Batch.parse("dynamic")
    graph = capture(program, signature, opset=20, batch=batch).graph
    shapes = [one.shape for node in graph for one in node.outputs if one.shape is not None]
    names = {str(side.value) for shape in shapes for side in shape if not isinstance(side, int)}
    assert all(set(re.findall(r"[a-z]\w*", name)) == {"batch"} for name in names)
    assert any("*" in name for name in names)
