"""Fuse attention into one node of ONNX Runtime's own domain: softmax and both matmuls."""

import numpy as np
import onnx_ir as ir

from vit_export.graph.builder import MICROSOFT, add_initializer, module_name, replace_node
from vit_export.graph.patterns import Attention, find_attentions


def fuse_attention(model: ir.Model) -> int:
    """Replace softmax(q kᵀ + bias) v by com.microsoft.MultiHeadAttention.

    The scale is part of the query weights, and the bias is a constant. Return the number of
    changes.
    """
    attentions = find_attentions(model.graph)
    for attention in attentions:
        _replace(model, attention)
    return len(attentions)


def _replace(model: ir.Model, attention: Attention) -> None:
    name = f"{module_name(attention.output_transpose)}/MultiHeadAttention"
    if any(node.name == name for node in model.graph):  # a module with several attentions
        name = f"{attention.output_transpose.name}_MultiHeadAttention"
    lengths = (attention.query_tokens, attention.key_tokens, attention.key_tokens)
    inputs: list[ir.Value | None] = []
    for number, (value, length) in enumerate(zip(attention.inputs, lengths, strict=True)):
        word = f"{value.name}/in_three_axes"
        if f"{word}/shape" in model.graph.initializers:  # a value that attentions share
            word = f"{name}/{number}"
        inputs.append(_add_reshape(model.graph, attention, value, length, word))
    if attention.bias is not None:
        bias = add_initializer(model.graph, f"{name}/bias", attention.bias)
        inputs += [None, None, bias]  # a bias of projections, a mask of keys, that of scores
    settings = {"num_heads": attention.heads, "scale": 1.0}
    fused = ir.node("MultiHeadAttention", inputs, settings, domain=MICROSOFT, name=name)
    fused.outputs[0].shape = _three_axes(attention, attention.query_tokens)
    replace_node(model, attention.output_transpose, fused)


def _add_reshape(
    graph: ir.Graph, attention: Attention, value: ir.Value, length: int, name: str
) -> ir.Value:
    """Return `value`, (B·N, D), as (B, N, D)."""
    shape = np.array([-1, length, attention.width], np.int64)
    node = ir.node("Reshape", [value, add_initializer(graph, f"{name}/shape", shape)], name=name)
    output = node.outputs[0]
    output.name, output.type, output.shape = name, value.type, _three_axes(attention, length)
    graph.insert_before(attention.output_transpose, node)
    return output


def _three_axes(attention: Attention, length: int) -> ir.Shape:
    """Return (B, N, D)."""
    shape = attention.output_transpose.outputs[0].shape
    return ir.Shape([shape[0] if shape is not None else None, length, attention.width])
