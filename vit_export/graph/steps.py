"""A graph as steps: its layers, and the stretches of other nodes between them."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from vit_export.graph.builder import read_constant
from vit_export.graph.evaluate import FATAL

Arrays = dict[str, Any]
"""NumPy arrays by the names of values."""


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer of a graph: one node, or the two products of an attention and what joins them."""

    name: str
    nodes: tuple[ir.Node, ...]
    """In the order of the graph; the last one has the layer's output."""
    inputs: tuple[ir.Value, ...]
    """What is no weight."""

    @property
    def output(self) -> ir.Value:
        """What the layer computes."""
        return self.nodes[-1].outputs[0]


@dataclass(frozen=True, eq=False)
class Stretch:
    """Nodes that run one after the other in ONNX Runtime, without a layer among them."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    session: Any
    """An `onnxruntime.InferenceSession`."""

    def run(self, arrays: Arrays) -> Arrays:
        """Return the outputs by name."""
        answers = self.session.run(self.outputs, {name: arrays[name] for name in self.inputs})
        return dict(zip(self.outputs, answers, strict=True))


Step = Layer | Stretch


def split_into_steps(model: ir.Model, layers: Sequence[Layer]) -> list[Step]:
    """Return what computes `model` in its order: its layers, and the stretches between them."""
    levels, owners = _find_levels(model, layers)
    steps: list[Step] = []
    for level in range(max(levels.values(), default=0) + 1):
        nodes = [node for node, own in levels.items() if own == level and node not in owners]
        if nodes:
            steps.append(_make_stretch(model, nodes))
        own = dict.fromkeys(owners[node] for node in levels if node in owners)
        steps += [layer for layer in own if levels[layer.nodes[-1]] == level]
    return steps


def list_last_reads(steps: Sequence[Step], answers: Collection[str]) -> list[tuple[str, ...]]:
    """Return the names of the values that each step reads and no later one, but for `answers`."""
    later, reads = {*answers}, list[tuple[str, ...]]()
    for step in reversed(steps):
        names = step.inputs if isinstance(step, Stretch) else _name(step.inputs)
        reads.insert(0, tuple(name for name in dict.fromkeys(names) if name not in later))
        later.update(names)
    return reads


def _find_levels(
    model: ir.Model, layers: Sequence[Layer]
) -> tuple[dict[ir.Node, int], dict[ir.Node, Layer]]:
    """Return how many layers at most stand before each node, and the layer of each node."""
    owners = {node: layer for layer in layers for node in layer.nodes}
    levels: dict[ir.Node, int] = {}
    for node in model.graph:
        layer = owners.get(node)
        read = layer.inputs if layer is not None else tuple(_list_inputs(node))
        producers = [one for one in (value.producer() for value in read) if one in levels]
        levels[node] = max((levels[one] + (one in owners) for one in producers), default=0)
    return levels, owners


def _list_inputs(node: ir.Node) -> Iterator[ir.Value]:
    """Yield what a node reads, in graphs inside it too."""
    yield from filter(None, node.inputs)
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            for inner in attribute.as_graph():
                yield from _list_inputs(inner)


def _make_stretch(model: ir.Model, nodes: Sequence[ir.Node]) -> Stretch:
    read = dict.fromkeys(value for node in nodes for value in _list_inputs(node))
    own = dict.fromkeys(value for node in nodes for value in node.outputs)
    constants = {str(one.name): array for one in read if (array := read_constant(one)) is not None}
    inputs = [one for one in read if one.name not in constants and _comes_from(one, model, own)]
    outputs = [one for one in own if _is_needed(one, set(nodes))]
    session = _open(_write(model, nodes, inputs, outputs, constants))
    return Stretch(_name(inputs), _name(outputs), session)


def _comes_from(value: ir.Value, model: ir.Model, own: Collection[ir.Value]) -> bool:
    """Whether `value` comes into a stretch from the graph around it."""
    node = value.producer()
    return value not in own and (node is None or node.graph is model.graph)


def _name(values: Sequence[ir.Value]) -> tuple[str, ...]:
    return tuple(str(value.name) for value in values)


def _is_needed(value: ir.Value, inside: set[ir.Node]) -> bool:
    """Whether anything outside of a stretch reads `value`."""
    readers = {use.node for use in value.uses()}
    return value.is_graph_output() or not readers <= inside


def _write(
    model: ir.Model,
    nodes: Sequence[ir.Node],
    inputs: Sequence[ir.Value],
    outputs: Sequence[ir.Value],
    constants: Arrays,
) -> bytes:
    """Return a file of these nodes."""
    import onnx

    graph = onnx.helper.make_graph(
        [ir.to_proto(node) for node in nodes],
        "stretch",
        [
            onnx.helper.make_tensor_value_info(
                str(one.name), int(one.dtype or ir.DataType.FLOAT), None
            )
            for one in inputs
        ],
        [onnx.ValueInfoProto(name=one.name) for one in outputs],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [onnx.helper.make_opsetid(*one) for one in model.opset_imports.items()]
    proto = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=model.ir_version)
    content: bytes = proto.SerializeToString()
    return content


def _open(content: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = FATAL
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
