"""The graph of any module's program, brought to the form that the passes expect."""

import re

import onnx_ir as ir
from torch import nn
from torch.export import ExportedProgram

from vit_export.core.frames import describe_error
from vit_export.model.program.blame import find_line
from vit_export.model.signature import BATCH

OPERATOR = re.compile(r"OpOverload\(op='(?P<name>[\w.]+)', overload='(?P<overload>\w+)'\)")
"""An operator of PyTorch in an error of its exporter."""
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
    """Rename a free dimension, also inside expressions such as `49*s45`."""
    symbol, graph = re.compile(rf"\b{re.escape(old)}\b"), model.graph
    values = [*graph.inputs, *graph.outputs, *(one for node in graph for one in node.outputs)]
    for value in values:
        if value.shape is not None:
            value.shape = ir.Shape([_rename(one, symbol, new) for one in value.shape])


def _rename(
    side: int | ir.SymbolicDim, symbol: re.Pattern[str], new: str
) -> int | ir.SymbolicDim | str:
    if isinstance(side, ir.SymbolicDim) and side.value is not None:
        return symbol.sub(new, str(side.value))
    return side


def describe_cause(error: BaseException, module: nn.Module | ExportedProgram | None = None) -> str:
    """Return the innermost cause of an error of the exporter, in one line.

    If it names an operator and `module` is a program, the line of code that calls it follows.
    """
    while error.__cause__ is not None:
        error = error.__cause__
    text, match = describe_error(error, most=1), OPERATOR.search(str(error))
    if match is None or not isinstance(module, ExportedProgram):
        return text
    return text + find_line(module, match["name"], match["overload"])
