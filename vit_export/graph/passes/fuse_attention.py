"""Attention in one node of ONNX Runtime's own domain, which fuses softmax and both products."""

import numpy as np
import onnx_ir as ir

from vit_export.graph.builder import MICROSOFT, initializer, replace_node, scope
from vit_export.graph.patterns import Attention, attentions


def fuse_attention(model: ir.Model) -> int:
    """Replaces softmax(q k) v by com.microsoft.MultiHeadAttention; says how many.

    The scale stands in the weights of the queries, and there is no mask.
    """
    found = attentions(model.graph)
    for attention in found:
        _replace(model, attention)
    return len(found)


def _replace(model: ir.Model, attention: Attention) -> None:
    name = f"{scope(attention.joined)}/MultiHeadAttention"
    lengths = (attention.queries, attention.keys, attention.keys)
    inputs = [
        _in_three_axes(model.graph, attention, value, length)
        for value, length in zip(attention.inputs, lengths, strict=True)
    ]
    heads = {"num_heads": attention.heads, "scale": 1.0}
    made = ir.node("MultiHeadAttention", inputs, heads, domain=MICROSOFT, name=name)
    made.outputs[0].shape = _shape(attention, attention.queries)
    replace_node(model, attention.joined, made)


def _in_three_axes(graph: ir.Graph, attention: Attention, value: ir.Value, length: int) -> ir.Value:
    """`value`, (B·N, D), as (B, N, D)."""
    name = f"{value.name}/in_three_axes"
    shape = np.array([-1, length, attention.width], np.int64)
    node = ir.node("Reshape", [value, initializer(graph, f"{name}/shape", shape)], name=name)
    made = node.outputs[0]
    made.name, made.type, made.shape = name, value.type, _shape(attention, length)
    graph.insert_before(attention.joined, node)
    return made


def _shape(attention: Attention, length: int) -> ir.Shape:
    shape = attention.joined.outputs[0].shape
    return ir.Shape([shape[0] if shape is not None else None, length, attention.width])
