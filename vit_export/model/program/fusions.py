"""What the best form of a program's graph contains: its attentions, norms and activations."""

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram

from vit_export.model.fusions import ExpectedFusions

ATEN = torch.ops.aten
ATTENTION = {ATEN.scaled_dot_product_attention.default}
SOFTMAX = {ATEN.softmax.int, ATEN._softmax.default}  # noqa: SLF001 its name in ATen
NORMS = {ATEN.layer_norm.default, ATEN.native_layer_norm.default}
SCORE_AXES = 3
"""Least number of axes of attention scores: those of a classifier's softmax are two."""


def count_fusions(program: ExportedProgram) -> ExpectedFusions:
    """Return how many nodes of each kind the graph of a program has if every fusion succeeds."""
    nodes = [node for node in program.graph.nodes if node.op == "call_function"]
    gelus = [node for node in nodes if node.target is ATEN.gelu.default]
    exact = [node for node in gelus if node.kwargs.get("approximate", "none") == "none"]
    return ExpectedFusions(
        attentions=sum(node.target in ATTENTION or _makes_scores(node) for node in nodes),
        layer_norms=sum(node.target in NORMS for node in nodes),
        activations=len(gelus),
        activation="gelu" if exact or not gelus else "gelu_tanh",
    )


def _makes_scores(node: fx.Node) -> bool:
    """Return whether a node is the softmax of an attention that is spelled out."""
    value = node.meta.get("val")
    return node.target in SOFTMAX and isinstance(value, Tensor) and value.ndim >= SCORE_AXES
