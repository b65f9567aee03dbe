"""A graph without its large weights, so that the cost of work on it does not grow with them."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import onnx_ir as ir

LARGE_BYTES = 1024
"""Initializers up to this size stay: they are constants that a pass may have to read."""


@contextmanager
def weights_as_inputs(model: ir.Model) -> Iterator[Mapping[str, ir.TensorProtocol]]:
    """While open, make the large initializers of `model` inputs; yield their tensors by name."""
    graph = model.graph
    weights = {
        name: value
        for name, value in graph.initializers.items()
        if value.const_value is not None and value.const_value.nbytes > LARGE_BYTES
    }
    for name, value in weights.items():
        del graph.initializers[name]
        graph.inputs.append(value)
    try:
        yield {name: v.const_value for name, v in weights.items() if v.const_value is not None}
    finally:
        for value in weights.values():
            graph.inputs.remove(value)
            graph.register_initializer(value)


def hash_graph(model: ir.Model) -> str:
    """Return the SHA-256 of a graph with all of its numbers, whose weights are never copied."""
    with weights_as_inputs(model) as weights:
        digest = hashlib.sha256(ir.to_proto(model).SerializeToString(deterministic=True))
        for name, tensor in sorted(weights.items()):
            digest.update(name.encode())
            digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
