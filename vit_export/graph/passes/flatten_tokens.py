"""Compute token by token on rows, (B·N, D): projections become the Gemm that other passes know."""

import numpy as np
import onnx_ir as ir

from vit_export.graph.builder import NodeBuilder, add_initializer, find_reader, read_constant
from vit_export.graph.projections import Projection, find_projection
from vit_export.graph.shapes import (
    Dimensions,
    merge_dimensions,
    read_shape,
    reshape_target,
)

ROW_AXES = 2
"""Number of axes of rows."""
ACTIVATIONS = frozenset(
    {"Gelu", "Erf", "Tanh", "Sigmoid", "Relu", "LeakyRelu", "HardSwish", "HardSigmoid", "Mish"}
)
BINARY = frozenset({"Add", "Sub", "Mul", "Div"})

Rows = dict[ir.Value, ir.Value]
"""By value of three axes and more: the same numbers as rows."""


def flatten_tokens(model: ir.Model) -> int:
    """Let projections, norms and what stands between them work on rows.

    A projection becomes a Gemm with a bias. Reshapes stand only where tokens meet: at attentions,
    at pools and at the end. Return the number of changes.
    """
    rows: Rows = {}
    return sum(_flatten(model, node, rows) for node in list(model.graph))


def _flatten(model: ir.Model, node: ir.Node, rows: Rows) -> bool:
    shape = read_shape(node.outputs[0])
    if shape is None or len(shape) <= ROW_AXES or not isinstance(shape[-1], int):
        return False
    if any(value.is_graph_output() for value in node.outputs) or reshape_target(shape) is None:
        return False
    projection = find_projection(node.outputs[0])
    if projection is not None:
        return _flatten_projection(model, node, projection, rows)
    if not _keeps_rows(node, rows):
        return False
    inputs = node.inputs if node.op_type in BINARY else node.inputs[:1]
    if not all(_fits_rows(value, shape) for value in inputs):
        return False
    build = NodeBuilder(model, node)
    for index, value in enumerate(inputs):
        if value is not None:
            node.replace_input_with(index, _rows_of(build, value, rows))
    if node.op_type in {"LayerNormalization", "Split"}:
        node.attributes["axis"] = ir.AttrInt64("axis", 1)
    for value in node.outputs:
        _restore_tokens(model, value, rows)
    return True


def _flatten_projection(model: ir.Model, node: ir.Node, projection: Projection, rows: Rows) -> bool:
    """Replace a MatMul, with its bias if there is one, by a Gemm."""
    add, shape = find_reader(node, "Add"), read_shape(node.outputs[0])
    whole = find_projection(add.outputs[0]) if add is not None else None
    if whole is not None and whole.node is node and whole.add is add:
        return False  # the Add is next
    if shape is None or not _fits_rows(projection.input, shape):
        return False
    build = NodeBuilder(model, node)
    width = projection.weight.shape[1]
    bias = projection.bias if projection.bias is not None else np.zeros(width, np.float32)
    value = build(
        "Gemm",
        _rows_of(build, projection.input, rows),
        build.add_constant("weight", projection.weight.T),
        build.add_constant("bias", bias),
        transB=1,
        like=node.outputs[0],
    )
    ir.convenience.replace_all_uses_with(node.outputs[0], value)
    _restore_tokens(model, value, rows)
    model.graph.remove([node, *([projection.node] if projection.add else [])], safe=True)
    return True


def _keeps_rows(node: ir.Node, rows: Rows) -> bool:
    """Whether `node` works on each row alone, and its input comes as rows or should."""
    shape = read_shape(node.outputs[0])
    axis = node.attributes.get_int("axis", -1)
    last = axis in {-1, len(shape or ()) - 1}
    if node.op_type == "LayerNormalization":
        return last and (node.inputs[0] in rows or _feeds_projection(node))
    if node.op_type == "Split":
        return last and "axis" in node.attributes and node.inputs[0] in rows
    if node.op_type in ACTIVATIONS | BINARY:
        return any(value in rows for value in node.inputs)
    return False


def _feeds_projection(node: ir.Node) -> bool:
    """Whether a product with weights reads the output of `node`."""
    readers = [use.node for use in node.outputs[0].uses()]
    return any(
        reader.op_type == "MatMul" and read_constant(reader.inputs[1]) is not None
        for reader in readers
    )


def _fits_rows(value: ir.Value | None, shape: Dimensions) -> bool:
    """Whether an input of a node with this output is the same number of rows, or one row."""
    own, array = read_shape(value), read_constant(value)
    if array is not None:
        return array.size == 1 or (array.size == shape[-1] and array.shape[-1] == shape[-1])
    return own is not None and own[:-1] == shape[:-1] and isinstance(own[-1], int)


def _rows_of(build: NodeBuilder, value: ir.Value, rows: Rows) -> ir.Value:
    """Return an input as rows; a constant as the one row that it is."""
    array, shape = read_constant(value), read_shape(value)
    if array is not None:
        whole = array.ndim > 1
        return build.add_constant(f"{value.name}_row", array.reshape(-1)) if whole else value
    if value not in rows and shape is not None and isinstance(shape[-1], int):
        target = np.array([-1, shape[-1]], np.int64)
        rows[value] = build("Reshape", value, target, shape=_row_shape(shape))
    return rows[value]


def _row_shape(shape: Dimensions) -> Dimensions:
    return (merge_dimensions(shape[:-1]), shape[-1])


def _restore_tokens(model: ir.Model, value: ir.Value, rows: Rows) -> None:
    """Make the output of a node rows, and give its readers what it was by a Reshape."""
    shape, node = read_shape(value), value.producer()
    target = reshape_target(shape) if shape is not None else None
    if shape is None or target is None or node is None:
        raise ValueError(f"{value.name} has no shape")
    name = f"{value.name}/tokens"
    constant = add_initializer(model.graph, f"{name}/shape", target)
    reshape = ir.node("Reshape", [value, constant], name=name)
    tokens = reshape.outputs[0]
    tokens.name, tokens.shape, tokens.type = name, value.shape, value.type
    ir.convenience.replace_all_uses_with(value, tokens)
    reshape.replace_input_with(0, value)
    model.graph.insert_after(node, reshape)
    value.shape = ir.Shape(_row_shape(shape))
    rows[tokens] = value
