"""Graphs of any module, and of text, and what onnxruntime answers."""

from collections import Counter

import numpy as np
import onnx_ir as ir
import onnxruntime
import torch

from vit_export.artifact.batch import Batch
from vit_export.graph.capture import capture
from vit_export.model.signature import image_signature


def capture_module(module, shape=(3, 16, 24), opset=20):
    """The graph of a module as it is captured: no pass has changed it."""
    signature = image_signature(shape, "tensor", ())
    return capture(module.eval(), signature, opset=opset, batch=Batch.parse("dynamic"))


def run_graph(model, **feeds):
    """The first output of `model`."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), options)
    return session.run(None, feeds)[0]


def operators(model):
    return Counter(node.op_type for node in model.graph)


@torch.no_grad()
def assert_answers_like(model, module, shape=(3, 16, 24), atol=1e-5):
    """At several batch sizes, one of them not that of the example."""
    for size in (1, 3):
        images = torch.randn(size, *shape, generator=torch.Generator().manual_seed(size))
        answer = run_graph(model, image=images.numpy())
        np.testing.assert_allclose(answer, module(images).numpy(), rtol=1e-4, atol=atol)
