"""Pad the hidden width of an MLP whose rows would alias in the CPU's cache."""

import numpy as np
import onnx_ir as ir

from vit_export.graph.patterns import Linear, find_linears
from vit_export.graph.projections import has_one_reader, replace_constant
from vit_export.graph.shapes import read_shape
from vit_export.model.vit.padding import pad_hidden_width

KEEP_ZERO = frozenset({"Gelu", "Relu", "LeakyRelu", "HardSwish", "Tanh", "Erf", "Elu", "Mish"})
"""Activations of zero that are zero: channels of zeros stay what they are."""
WEIGHT, BIAS = 1, 2
"""Inputs of a Gemm."""


def pad_hidden(model: ir.Model) -> int:
    """Add channels of zeros between two linear layers and an activation, where rows alias.

    `model/vit/padding.py` says why, and how many. Return the number of changes.
    """
    linears = {linear.node: linear for linear in find_linears(model.graph)}
    return sum(_pad(model.graph, linear, linears) for linear in linears.values())


def _pad(graph: ir.Graph, expand: Linear, linears: dict[ir.Node, Linear]) -> bool:
    width = len(expand.weight)
    padding = pad_hidden_width(width) - width
    hidden = _find_hidden(expand.output)
    contract = linears.get(next(iter(hidden[-1].uses())).node) if hidden else None
    if not padding or contract is None or contract.input is not hidden[-1]:
        return False
    replace_constant(graph, expand.node, WEIGHT, np.pad(expand.weight, ((0, padding), (0, 0))))
    replace_constant(graph, expand.node, BIAS, np.pad(expand.bias.reshape(-1), (0, padding)))
    replace_constant(graph, contract.node, WEIGHT, np.pad(contract.weight, ((0, 0), (0, padding))))
    for value in hidden:
        shape = read_shape(value)
        value.shape = None if shape is None else ir.Shape([*shape[:-1], width + padding])
    return True


def _find_hidden(value: ir.Value) -> list[ir.Value]:
    """Return `value` and what activations make of it, as long as there is one reader."""
    hidden = []
    while has_one_reader(value):
        hidden.append(value)
        reader = next(iter(value.uses())).node
        if reader.op_type not in KEEP_ZERO:
            return hidden
        value = reader.outputs[0]
    return []
