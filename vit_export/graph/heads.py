"""A graph of logits that answers probabilities, or the best classes."""

import numpy as np
import onnx_ir as ir

from vit_export.artifact.outputs import OUTPUT_NAMES, TOP
from vit_export.graph.builder import initializer


def answer_with(model: ir.Model, head: str) -> None:
    """Puts `head`, which is more than the logits, behind `model`, in place."""
    (logits,) = model.graph.outputs
    if logits.shape is None:
        raise ValueError("the graph does not say what it answers")
    batch, classes = logits.shape
    softmax = ir.node("Softmax", [logits], {"axis": -1}, name="head/Softmax")
    probabilities = softmax.outputs[0]
    probabilities.shape, probabilities.type = logits.shape, logits.type
    model.graph.append(softmax)
    outputs = [probabilities]
    if head == "top5":
        count = min(TOP, int(str(classes)))
        k = initializer(model.graph, "head/k", np.array([count], np.int64))
        top = ir.node("TopK", [probabilities, k], num_outputs=2, name="head/TopK")
        probabilities.name = "head/probabilities"
        for value, kind in zip(top.outputs, (ir.DataType.FLOAT, ir.DataType.INT64), strict=True):
            value.shape, value.type = ir.Shape([batch, count]), ir.TensorType(kind)
        model.graph.append(top)
        outputs = [top.outputs[1], top.outputs[0]]  # classes first
    for value, name in zip(outputs, OUTPUT_NAMES[head], strict=True):
        value.name = name
    model.graph.outputs[:] = outputs
