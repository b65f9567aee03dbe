"""Reading and changing an ONNX graph: find a node, read a constant, add nodes, replace one."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

MICROSOFT = "com.microsoft"
"""Domain of ONNX Runtime's own operators."""


def find_producer(value: ir.Value | None, op_type: str) -> ir.Node | None:
    """Return the node that computes `value` if it has this type, else None."""
    node = value.producer() if value is not None else None
    return node if node is not None and node.op_type == op_type else None


def find_input(node: ir.Node | None, op_type: str) -> ir.Node | None:
    """Return the node that computes the first input of `node` if it has this type, else None."""
    return find_producer(node.inputs[0], op_type) if node is not None and node.inputs else None


def find_reader(node: ir.Node | None, op_type: str) -> ir.Node | None:
    """Return the only reader of the first output of `node` if it has this type, else None."""
    uses = tuple(node.outputs[0].uses()) if node is not None else ()
    return uses[0].node if len(uses) == 1 and uses[0].node.op_type == op_type else None


def read_constant(value: ir.Value | None) -> npt.NDArray[Any] | None:
    """Return the array of `value`, or None unless it is a constant."""
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    return None if tensor is None else tensor.numpy()


def read_permutation(node: ir.Node | None) -> tuple[int, ...]:
    """Return the axes of a Transpose, or an empty tuple for another node."""
    return tuple(node.attributes.get_ints("perm", ())) if node is not None else ()


def module_name(node: ir.Node) -> str:
    """Return the name of the module that `node` was captured from; node names begin with it."""
    return (node.name or "").rpartition("/")[0]


def add_initializer(
    graph: ir.Graph, name: str, array: npt.NDArray[Any], dtype: ir.DataType | None = None
) -> ir.Value:
    """Add an initializer to `graph` that shares the memory of `array`.

    Args:
        graph: the graph to change.
        name: name of the initializer, new to the graph.
        array: the values.
        dtype: type of the values, for types that NumPy lacks.
    """
    contiguous = np.ascontiguousarray(array).reshape(array.shape)  # NumPy makes scalars vectors
    tensor = ir.tensor(contiguous, dtype, name=name)
    value = ir.Value(
        name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor
    )
    graph.register_initializer(value)
    return value


def replace_node(model: ir.Model, node: ir.Node, replacement: ir.Node) -> None:
    """Replace `node` by `replacement`; both have one output, of the same shape and type."""
    old, new = node.outputs[0], replacement.outputs[0]
    new.name, new.shape, new.type = old.name, new.shape or old.shape, old.type
    model.graph.insert_before(node, replacement)
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    model.graph.remove(node, safe=True)
    if replacement.domain:
        model.opset_imports[replacement.domain] = 1


def bypass(graph: ir.Graph, node: ir.Node, value: ir.Value) -> None:
    """Remove `node`, and let its readers read `value`, which nothing else reads.

    An output of the graph keeps its name: programs take it by that.
    """
    old = node.outputs[0]
    if old.is_graph_output():
        value.name = old.name
    ir.convenience.replace_all_uses_with(old, value, replace_graph_outputs=True)
    graph.remove(node, safe=True)


class NodeBuilder:
    """Adds nodes before `anchor`, in the order of the calls.

    A node is named after the anchor, so that it keeps the anchor's module, and an output after its
    node and a word: `blocks.0.mlp.up/Gemm_MatMul/out`. With a `scope` both are numbered:
    `pixels/Split_7/0`. An array among the inputs becomes an initializer; equal arrays share one.
    """

    def __init__(self, model: ir.Model, anchor: ir.Node, scope: str = "") -> None:
        self.model = model
        self.anchor = anchor
        self.scope = scope
        self._nodes: list[ir.Node] = []
        self._counts: Counter[str] = Counter()
        self._constants: dict[tuple[Any, ...], ir.Value] = {}

    def __call__(
        self,
        op_type: str,
        *inputs: ir.Value | npt.ArrayLike | None,
        like: ir.Value | None = None,
        shape: Sequence[int | ir.SymbolicDim] | None = None,
        dtype: ir.DataType = ir.DataType.FLOAT,
        domain: str = "",
        **attributes: Any,
    ) -> ir.Value:
        """Add a node with one output, and return this output.

        Args:
            op_type: the operator.
            inputs: values, arrays, or None for an optional input that is left out.
            like: value whose shape the output gets.
            shape: shape of the output; without it and `like` the shape stays open.
            dtype: type of the output, if its shape is known.
            domain: domain of the operator.
            attributes: attributes of the node.
        """
        word = "0" if self.scope else "out"
        (output,) = self.add(op_type, inputs, (word,), domain=domain, **attributes)
        known = ir.Shape(shape) if shape is not None else like.shape if like is not None else None
        if known is not None:
            output.shape, output.type = known, ir.TensorType(dtype)
        return output

    def add(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | npt.ArrayLike | None],
        outputs: Sequence[str],
        domain: str = "",
        **attributes: Any,
    ) -> tuple[ir.Value, ...]:
        """Add a node and return its outputs, each named after its word in `outputs`."""
        values = [one if one is None else self._to_value(one) for one in inputs]
        node = ir.node(op_type, values, attributes, domain=domain, num_outputs=len(outputs))
        node.name = self._new_name(op_type)
        for value, word in zip(node.outputs, outputs, strict=True):
            value.name = f"{node.name}/{word}"
        self.model.graph.insert_before(self.anchor, node)
        self._nodes.append(node)
        if domain:
            self.model.opset_imports[domain] = 1
        return tuple(node.outputs)

    def add_constant(
        self, word: str, array: npt.ArrayLike, dtype: ir.DataType | None = None
    ) -> ir.Value:
        """Return the initializer that is named after the anchor (or the scope) and `word`.

        The first call adds it.

        Args:
            word: what the constant is, as part of its name.
            array: its values; four-bit integers as bytes.
            dtype: type of the values, for types that NumPy lacks.
        """
        name = f"{self.scope or self.anchor.name}/{word}"
        value = self.model.graph.initializers.get(name)
        if value is None:
            value = add_initializer(self.model.graph, name, np.asarray(array), dtype)
        return value

    def add_subgraph(
        self, build: Callable[[], Sequence[ir.Value]], inputs: Sequence[ir.Value] = ()
    ) -> ir.Graph:
        """Return the nodes that `build` adds as a graph of their own: for an If, or a Loop.

        Args:
            build: adds nodes and returns the outputs of the graph, with their types.
            inputs: inputs of the graph, with their types.
        """
        first = len(self._nodes)
        outputs = build()
        nodes, self._nodes = self._nodes[first:], self._nodes[:first]
        self.model.graph.remove(nodes)
        return ir.Graph(inputs, outputs, nodes=nodes, name=f"{self.scope}/{outputs[0].name}")

    def replace_anchor(self, value: ir.Value) -> None:
        """Put `value` in the place of the anchor's output and remove the anchor."""
        old = self.anchor.outputs[0]
        value.name, value.shape, value.type = old.name, old.shape, old.type
        ir.convenience.replace_all_uses_with(old, value, replace_graph_outputs=True)
        self.model.graph.remove(self.anchor, safe=True)

    def _new_name(self, op_type: str) -> str:
        self._counts[op_type] += 1
        if self.scope:
            return f"{self.scope}/{op_type}_{self._counts.total()}"
        name, count = f"{self.anchor.name}_{op_type}", self._counts[op_type]
        return name if count == 1 else f"{name}_{count}"

    def _to_value(self, item: ir.Value | npt.ArrayLike) -> ir.Value:
        if isinstance(item, ir.Value):
            return item
        array = np.asarray(item)
        key = array.dtype, array.shape, array.tobytes()
        if key not in self._constants:
            name = f"{self.scope or self.anchor.name}/{array.dtype}_{len(self._constants)}"
            self._constants[key] = add_initializer(self.model.graph, name, array)
        return self._constants[key]
