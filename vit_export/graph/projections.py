"""Products with constant weights and their biases, in any of the forms that exporters write."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from vit_export.graph.builder import NodeBuilder, add_initializer, find_producer, read_constant
from vit_export.graph.shapes import read_shape

MATRIX_AXES = 2
"""Number of axes of weights."""

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Projection:
    """x W + b: a MatMul, a MatMul and an Add, or a Gemm."""

    node: ir.Node
    """The MatMul or Gemm."""
    add: ir.Node | None
    """The Add behind a MatMul."""
    weight: Array
    """(K, N)"""
    bias: Array | None
    """(N,)"""

    @property
    def input(self) -> ir.Value:
        """(..., K)."""
        value = self.node.inputs[0]
        if value is None:
            raise ValueError(f"{self.node.name} has no input")
        return value

    @property
    def output(self) -> ir.Value:
        """(..., N)."""
        return (self.add or self.node).outputs[0]


def find_projection(value: ir.Value | None) -> Projection | None:
    """Return the projection that computes `value`, or None if another node does."""
    add = find_producer(value, "Add")
    if add is None:
        node = value.producer() if value is not None else None
        return _match_projection(node, None, None) if node is not None else None
    for product, bias in (add.inputs, reversed(add.inputs)):
        node, array = find_producer(product, "MatMul"), read_constant(bias)
        if node is not None and array is not None and has_one_reader(node.outputs[0]):
            return _match_projection(node, add, array)
    return None


def _match_projection(node: ir.Node, add: ir.Node | None, bias: Array | None) -> Projection | None:
    weight = read_constant(node.inputs[1]) if node.op_type in {"MatMul", "Gemm"} else None
    if weight is None or weight.ndim != MATRIX_AXES or weight.dtype != np.float32:
        return None
    if node.op_type == "Gemm":
        if _changes_factors(node):
            return None
        weight = weight.T if node.attributes.get_int("transB", 0) != 0 else weight
        if len(node.inputs) > MATRIX_AXES and node.inputs[2] is not None:
            bias = read_constant(node.inputs[2])
            if bias is None:
                return None
    if bias is not None:
        if bias.size != weight.shape[1] or bias.shape[-1:] != weight.shape[1:]:
            return None
        bias = bias.reshape(-1)
    return Projection(node, add, weight, bias)


def _changes_factors(gemm: ir.Node) -> bool:
    """Whether a Gemm scales its terms or transposes its input."""
    scales = [gemm.attributes.get_float(name, 1.0) for name in ("alpha", "beta")]
    return scales != [1.0, 1.0] or gemm.attributes.get_int("transA", 0) != 0


def change_columns(
    graph: ir.Graph, projection: Projection, change: Callable[[Array], Array]
) -> None:
    """Put other weights and another bias in the place of those of `projection`.

    Args:
        graph: the graph to change.
        projection: the product.
        change: takes an array whose last axis is the output's and returns the new one.
    """
    node = projection.node
    weight = change(projection.weight)
    if node.op_type == "Gemm" and node.attributes.get_int("transB", 0) != 0:
        weight = weight.T
    replace_constant(graph, node, 1, weight)
    if projection.bias is None:
        return
    _replace_bias(graph, projection, change(projection.bias))


def _replace_bias(graph: ir.Graph, projection: Projection, bias: Array) -> None:
    if projection.add is None:
        replace_constant(graph, projection.node, 2, bias)
    else:
        index = 1 if projection.add.inputs[0] is projection.node.outputs[0] else 0
        replace_constant(graph, projection.add, index, bias)


def add_bias(graph: ir.Graph, projection: Projection, bias: Array) -> None:
    """Add `bias` behind a projection; to its own bias, if it has one."""
    node = projection.node
    if projection.bias is not None:
        _replace_bias(graph, projection, projection.bias + bias)
        return
    constant = add_initializer(graph, f"{node.name}/bias", np.asarray(bias, np.float32))
    if node.op_type == "Gemm":
        node.resize_inputs(3)
        node.replace_input_with(2, constant)
        return
    product = node.outputs[0]
    add = ir.node("Add", [product, constant], name=f"{node.name}_Add")
    output = add.outputs[0]
    output.name, output.shape, output.type = f"{add.name}/out", product.shape, product.type
    ir.convenience.replace_all_uses_with(product, output)
    add.replace_input_with(0, product)
    graph.insert_after(node, add)


def add_projection(build: NodeBuilder, projection: Projection, columns: slice) -> ir.Value:
    """Add a product of the same form with some of the columns, and return its output."""
    weight = projection.weight[:, columns]
    bias = projection.bias[columns] if projection.bias is not None else None
    shape = read_shape(projection.output)
    part = (*shape[:-1], weight.shape[1]) if shape is not None else None
    source, first = projection.input, columns.start
    if projection.node.op_type == "Gemm":
        arrays = [build.add_constant(f"weight_{first}", weight.T)]
        if bias is not None:
            arrays.append(build.add_constant(f"bias_{first}", bias))
        return build("Gemm", source, *arrays, transB=1, shape=part)
    value = build("MatMul", source, build.add_constant(f"weight_{first}", weight), shape=part)
    if bias is None:
        return value
    return build("Add", value, build.add_constant(f"bias_{first}", bias), shape=part)


def replace_constant(graph: ir.Graph, node: ir.Node, index: int, array: Array) -> None:
    """Put `array` in the place of a constant input; other readers keep what they read."""
    value = node.inputs[index]
    contiguous = np.ascontiguousarray(array, np.float32)
    if value is not None and len(tuple(value.uses())) == 1 and not value.is_graph_output():
        value.const_value = ir.tensor(contiguous, name=value.name)
        value.shape = ir.Shape(contiguous.shape)
        return
    name = f"{node.name}/{value.name if value is not None else index}"
    node.replace_input_with(index, add_initializer(graph, name, contiguous))


def has_one_reader(value: ir.Value | None) -> bool:
    """Whether one node alone reads `value`, and it is no output of the graph."""
    return value is not None and len(tuple(value.uses())) == 1 and not value.is_graph_output()
