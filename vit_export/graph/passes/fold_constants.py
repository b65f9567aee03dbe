"""Compute what depends on weights alone: position biases, transposed weights, rotary tables."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy.typing as npt
import onnx_ir as ir
from onnx import helper

from vit_export.graph.builder import add_initializer, read_constant

MOST_GROWTH_BYTES = 1 << 22
"""By how much a result may be larger than the constants of its node: a bias of 1024² tokens."""
RANDOM = frozenset(
    {
        *("Bernoulli", "Dropout", "Multinomial"),
        *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
    }
)
NUMBERS = "fiub"
"""Kinds of NumPy types that onnxruntime takes."""
FATAL = 4
"""onnxruntime's severity of fatal errors; other errors come back as exceptions."""
IR_VERSION = 10
"""Of the graph of constants, which no file holds."""

Array = npt.NDArray[Any]


def fold_constants(model: ir.Model) -> int:
    """Make each result of constants alone an initializer; return the number of results.

    onnxruntime computes them. Random operators stay, and results that would enlarge the file.
    onnxsim folds small constants only: it does not see the weights.
    """
    nodes = _find_constant_nodes(model.graph)
    results = [value for node in nodes for value in node.outputs if _leaves(value, nodes)]
    if not results:
        return 0
    arrays = _compute(model, nodes, results)
    limit = {value: _input_bytes(value) + MOST_GROWTH_BYTES for value in results}
    small = [value for value in results if arrays[value].nbytes <= limit[value]]
    for value in small:
        constant = add_initializer(model.graph, f"{value.name}/constant", arrays[value])
        ir.convenience.replace_all_uses_with(value, constant)
    return len(small)


def _find_constant_nodes(graph: ir.Graph) -> dict[ir.Node, None]:
    """Return the nodes whose inputs are all constants or outputs of such nodes, in order."""
    nodes: dict[ir.Node, None] = {}
    for node in graph:
        if node.domain or node.op_type in RANDOM or not node.inputs or _has_graphs(node):
            continue
        if all(_is_known(value, nodes) for value in node.inputs if value is not None):
            nodes[node] = None
    return nodes


def _is_known(value: ir.Value, nodes: Mapping[ir.Node, None]) -> bool:
    if value.producer() is not None:
        return value.producer() in nodes
    array = read_constant(value)
    return array is not None and array.dtype.kind in NUMBERS


def _has_graphs(node: ir.Node) -> bool:
    types = {attribute.type for attribute in node.attributes.values()}
    return bool(types & {ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS})


def _leaves(value: ir.Value, nodes: Mapping[ir.Node, None]) -> bool:
    """Whether a node outside `nodes` reads `value`; an output of the graph stays computed."""
    return not value.is_graph_output() and any(use.node not in nodes for use in value.uses())


def _input_bytes(value: ir.Value) -> int:
    producer = value.producer()
    arrays = [read_constant(one) for one in producer.inputs] if producer is not None else []
    return sum(array.nbytes for array in arrays if array is not None)


def _compute(
    model: ir.Model, nodes: Collection[ir.Node], results: Sequence[ir.Value]
) -> dict[ir.Value, Array]:
    """Run `nodes` in onnxruntime, without its optimizations."""
    import onnxruntime

    constants = {
        value: read_constant(value)
        for node in nodes
        for value in node.inputs
        if value is not None and value.producer() is None
    }
    options = onnxruntime.SessionOptions()
    options.log_severity_level = FATAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    view: Any = ir.GraphView(list(constants), results, nodes=nodes, name="constants")
    imports = [helper.make_opsetid("", model.opset_imports[""])]
    proto = helper.make_model(ir.to_proto(view), opset_imports=imports, ir_version=IR_VERSION)
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    feeds = {value.name: array for value, array in constants.items()}
    arrays = session.run([value.name for value in results], feeds)
    return dict(zip(results, arrays, strict=True))
