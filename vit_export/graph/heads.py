"""Softmax and top-five classes, appended to a graph whose output is logits."""

import numpy as np
import onnx_ir as ir

from vit_export.artifact.outputs import OUTPUT_NAMES, TOP
from vit_export.graph.builder import add_initializer


def append_head(model: ir.Model, output_format: str) -> None:
    """Append `softmax` or `top5` to `model`, whose output is logits (B, K), in place.

    Raises:
        ValueError: the graph does not record the shape of its output.
    """
    (logits,) = model.graph.outputs
    if logits.shape is None:
        raise ValueError("the graph does not record the shape of its output")
    batch, classes = logits.shape
    softmax = ir.node("Softmax", [logits], {"axis": -1}, name="head/Softmax")
    probabilities = softmax.outputs[0]
    probabilities.shape, probabilities.type = logits.shape, logits.type
    model.graph.append(softmax)
    outputs = [probabilities]
    if output_format == "top5":
        probabilities.name = "head/probabilities"
        outputs = _append_top_k(model.graph, probabilities, batch, min(TOP, int(str(classes))))
    for value, name in zip(outputs, OUTPUT_NAMES[output_format], strict=True):
        value.name = name
    model.graph.outputs[:] = outputs


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
