"""The graph of any module's program, brought to the form that the passes expect."""

import onnx_ir as ir

from vit_export.core.frames import describe_error
from vit_export.model.signature import BATCH

WRAPPER = "module."
"""What stands before the names inside `TensorAnswer`."""


def tidy_program(model: ir.Model) -> None:
    """Name the free dimension as a signature does, and drop what a wrapper puts before names."""
    graph = model.graph
    (image,) = graph.inputs
    free = None if image.shape is None else image.shape[0]
    if isinstance(free, ir.SymbolicDim):
        _rename_dimension(model, str(free.value), BATCH)
    names = {name for name in graph.initializers if name is not None}
    if names and all(name.startswith(WRAPPER) for name in names if "." in name):
        for value in list(graph.initializers.values()):
            value.name = (value.name or "").removeprefix(WRAPPER)
        for node in graph:
            node.name = (node.name or "").removeprefix(WRAPPER)


def _rename_dimension(model: ir.Model, old: str, new: str) -> None:
    graph = model.graph
    values = [*graph.inputs, *graph.outputs, *(one for node in graph for one in node.outputs)]
    for value in values:
        if value.shape is None:
            continue
        dims = [
            new if isinstance(one, ir.SymbolicDim) and one.value == old else one
            for one in value.shape
        ]
        value.shape = ir.Shape(dims)


def describe_cause(error: BaseException) -> str:
    """Return the innermost cause of an error of the exporter, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return describe_error(error, most=1)
