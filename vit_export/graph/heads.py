"""Probabilities and top-five classes, appended to a graph whose output is logits."""

import numpy as np
import onnx_ir as ir

from vit_export.artifact.outputs import OUTPUT_NAMES, TOP, OutputHead
from vit_export.graph.builder import add_initializer


def append_head(model: ir.Model, head: OutputHead) -> None:
    """Append `head` to `model`, whose output is logits (B, K), in place.

    Raises:
        ValueError: the graph does not record the shape of its output.
    """
    (logits,) = model.graph.outputs
    if logits.shape is None:
        raise ValueError("the graph does not record the shape of its output")
    batch, classes = logits.shape
    append = _append_softmax if head.function == "softmax" else _append_sigmoid
    probabilities = append(model.graph, logits)
    outputs = [probabilities]
    if head.output_format == "top5":
        probabilities.name = "head/probabilities"
        outputs = _append_top_k(model.graph, probabilities, batch, min(TOP, int(str(classes))))
    for value, name in zip(outputs, OUTPUT_NAMES[head.output_format], strict=True):
        value.name = name
    model.graph.outputs[:] = outputs


def _append_softmax(graph: ir.Graph, logits: ir.Value) -> ir.Value:
    return _append_node(graph, "Softmax", [logits], {"axis": -1})


def _append_sigmoid(graph: ir.Graph, logits: ir.Value) -> ir.Value:
    """Append 1 / (1 + exp(-logits)).

    The operator Sigmoid is as exact as the sum 0.5 + x in ONNX Runtime: a probability of 1e-7 is
    off by its own size.
    """
    one = add_initializer(graph, "head/one", np.ones(1, np.float32))
    inverse = _append_node(graph, "Exp", [_append_node(graph, "Neg", [logits])])
    return _append_node(graph, "Reciprocal", [_append_node(graph, "Add", [inverse, one])])


def _append_node(
    graph: ir.Graph, kind: str, inputs: list[ir.Value], attributes: dict[str, int] | None = None
) -> ir.Value:
    """Append a node whose output has the shape and type of its first input; return the output."""
    node = ir.node(kind, inputs, attributes, name=f"head/{kind}")
    output = node.outputs[0]
    output.shape, output.type, output.name = inputs[0].shape, inputs[0].type, f"head/{kind}_output"
    graph.append(node)
    return output


def _append_top_k(
    graph: ir.Graph, probabilities: ir.Value, batch: int | ir.SymbolicDim, count: int
) -> list[ir.Value]:
    """Return the best `count` classes and their probabilities, each (B, count)."""
    k = add_initializer(graph, "head/k", np.array([count], np.int64))
    top = ir.node("TopK", [probabilities, k], num_outputs=2, name="head/TopK")
    for value, dtype in zip(top.outputs, (ir.DataType.FLOAT, ir.DataType.INT64), strict=True):
        value.shape, value.type = ir.Shape([batch, count]), ir.TensorType(dtype)
    graph.append(top)
    scores, classes = top.outputs
    return [classes, scores]
