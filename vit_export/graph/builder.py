"""Looking round in a graph, and putting something into it: what passes share."""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

MICROSOFT = "com.microsoft"
"""The domain of ONNX Runtime's own operators."""


def producer(value: ir.Value | None, op_type: str) -> ir.Node | None:
    """The node of this type that makes `value`, if one does."""
    node = value.producer() if value is not None else None
    return node if node is not None and node.op_type == op_type else None


def before(node: ir.Node | None, op_type: str) -> ir.Node | None:
    """The node of this type that makes the first input of `node`, if one does."""
    return producer(node.inputs[0], op_type) if node is not None and node.inputs else None


def after(node: ir.Node | None, op_type: str) -> ir.Node | None:
    """The node of this type that alone reads the first output of `node`, if it does."""
    uses = tuple(node.outputs[0].uses()) if node is not None else ()
    return uses[0].node if len(uses) == 1 and uses[0].node.op_type == op_type else None


def constant(value: ir.Value | None) -> npt.NDArray[Any] | None:
    """What `value` always is, if it is a constant."""
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    return None if tensor is None else tensor.numpy()


def permutation(node: ir.Node | None) -> tuple[int, ...]:
    """The axes of a Transpose; empty for another node."""
    return tuple(node.attributes.get_ints("perm", ())) if node is not None else ()


def scope(node: ir.Node) -> str:
    """The module that `node` comes from."""
    return (node.name or "").rpartition("/")[0]


def initializer(
    graph: ir.Graph, name: str, array: npt.NDArray[Any], dtype: ir.DataType | None = None
) -> ir.Value:
    """A new initializer of `graph` with the memory of `array`; its `dtype` where NumPy has none."""
    contiguous = np.ascontiguousarray(array).reshape(array.shape)  # which makes scalars vectors
    tensor = ir.tensor(contiguous, dtype, name=name)
    value = ir.Value(
        name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor
    )
    graph.register_initializer(value)
    return value


def replace_node(model: ir.Model, node: ir.Node, made: ir.Node) -> None:
    """Puts `made` in the place of `node`; both have one output, of the same shape and type."""
    old, new = node.outputs[0], made.outputs[0]
    new.name, new.shape, new.type = old.name, new.shape or old.shape, old.type
    model.graph.insert_before(node, made)
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    model.graph.remove(node, safe=True)
    if made.domain:
        model.opset_imports[made.domain] = 1
