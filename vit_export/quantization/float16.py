"""A graph in fp16 or bf16, with islands of fp32 where so few bits of mantissa are not enough."""

from collections.abc import Collection

import onnx
import onnx_ir as ir

from vit_export.graph.builder import add_initializer, read_constant

ISLANDS = {"LayerNormalization", "Softmax", "ReduceMean"}
"""Sums over many numbers: their squares and exponentials leave the range of fp16 first.

So is the residual stream, whose few huge channels are what LayerNorm, in fp32, reads anyway.
"""
HALF, SINGLE, BRAIN = ir.DataType.FLOAT16, ir.DataType.FLOAT, ir.DataType.BFLOAT16


def to_half(
    model: ir.Model, *, kept: Collection[str] = (), io: bool = False, dtype: ir.DataType = HALF
) -> int:
    """Makes everything `dtype`, in place, but `ISLANDS` and the nodes called `kept`; says how many.

    Inputs and outputs of the graph stay fp32 but for `io`. Every value has to have its type
    (`infer_shapes`).
    """
    graph = model.graph
    if io:
        (image,) = graph.inputs
        image.type = ir.TensorType(dtype)
    casts = _Casts(graph)
    halved = 0
    for node in list(graph):
        floats = [v for v in (*node.inputs, *node.outputs) if v is not None and _is_float(v)]
        if not floats:
            continue
        island = is_island(node) or node.name in kept
        for position, value in enumerate(node.inputs):
            if value is not None and _is_float(value):
                made = casts.to(value, SINGLE if island else dtype, node)
                node.replace_input_with(position, made)
        for value in node.outputs:
            if _is_float(value):
                value.type = ir.TensorType(SINGLE if island else dtype)
        halved += not island
    _finish(graph, dtype if io else SINGLE)
    return halved


def without(model: ir.Model, dtype: ir.DataType) -> frozenset[str]:
    """The nodes whose operator the standard does not have in `dtype`, at the opset of `model`."""
    opset, word = model.opset_imports[""], f"tensor({dtype.name.lower()})"
    lacking = set()
    for node in model.graph:
        schema = onnx.defs.get_schema(node.op_type, opset, node.domain)
        allowed = {one.type_param_str: one.allowed_type_strs for one in schema.type_constraints}
        first = schema.outputs[0].type_str
        if word not in allowed.get(first, [first]) and node.op_type != "Cast":
            lacking.add(str(node.name))
    return frozenset(lacking)


def halved_nodes(graph: ir.Graph) -> list[ir.Node]:
    """The nodes that `to_half` would not leave in fp32 by themselves."""
    return [
        node
        for node in graph
        if not is_island(node) and any(_is_float(value) for value in node.outputs)
    ]


def is_island(node: ir.Node) -> bool:
    """Whether `node` stays in fp32 in every model."""
    residual = node.op_type == "Add" and all(read_constant(value) is None for value in node.inputs)
    return node.op_type in ISLANDS or residual


class _Casts:
    """Values in the other type: a Cast, or a constant made anew; one for all who read it."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self.made: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}

    def to(self, value: ir.Value, dtype: ir.DataType, reader: ir.Node) -> ir.Value:
        """`value` as `dtype`, made before `reader` where it is not that already."""
        if value.dtype == dtype:
            return value
        if (value, dtype) not in self.made:
            array = read_constant(value)
            self.made[value, dtype] = (
                _cast(self.graph, value, dtype, reader)
                if array is None
                else add_initializer(self.graph, f"{value.name}/half", array.astype(dtype.numpy()))
            )
        return self.made[value, dtype]


def _cast(graph: ir.Graph, value: ir.Value, dtype: ir.DataType, reader: ir.Node) -> ir.Value:
    node = ir.node("Cast", [value], {"to": dtype}, name=f"{reader.name}/Cast_of_{value.name}")
    made = node.outputs[0]
    made.name, made.shape = f"{value.name}/{dtype.name}", value.shape
    made.type = ir.TensorType(dtype)
    graph.insert_before(reader, node)
    return made


def _finish(graph: ir.Graph, dtype: ir.DataType) -> None:
    """Casts the answer to what was asked, and keeps its name."""
    for position, value in enumerate(graph.outputs):
        if value.dtype != dtype:
            name = value.name
            value.name = f"{name}/{HALF.name}"
            node = ir.node("Cast", [value], {"to": dtype}, name=f"{name}/Cast")
            made = node.outputs[0]
            made.name, made.shape, made.type = name, value.shape, ir.TensorType(dtype)
            graph.append(node)
            graph.outputs[position] = made


def _is_float(value: ir.Value) -> bool:
    return value.dtype in {HALF, SINGLE, BRAIN}
