"""Casting a graph to fp16 or bf16, except for operators that need fp32."""

from collections.abc import Collection

import onnx
import onnx_ir as ir

from vit_export.graph.builder import add_initializer, read_constant

FP32_OPS = {"LayerNormalization", "Softmax", "ReduceMean"}
"""Operators that stay in fp32: sums of squares or exponentials leave the range of fp16 first.

The residual stream stays in fp32 as well, since a few of its channels are huge."""
FP16, BF16, FP32 = ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.FLOAT


def cast_graph(
    model: ir.Model, dtype: ir.DataType, *, fp32_nodes: Collection[str] = (), io: bool = False
) -> None:
    """Make `model` compute in `dtype`, except for `FP32_OPS` and residual sums, in place.

    Args:
        model: a graph in fp32 in which every value has a type (`infer_shapes`).
        dtype: fp16 or bf16.
        fp32_nodes: names of further nodes that stay in fp32.
        io: whether the inputs and outputs of the graph become `dtype` as well.
    """
    graph = model.graph
    if io:
        (image,) = graph.inputs
        image.type = ir.TensorType(dtype)
    casts = _Casts(graph)
    for node in list(graph):
        if not any(_is_float(value) for value in (*node.inputs, *node.outputs)):
            continue
        node_dtype = FP32 if stays_fp32(node) or node.name in fp32_nodes else dtype
        for position, value in enumerate(node.inputs):
            if value is not None and _is_float(value):
                node.replace_input_with(position, casts.convert(value, node_dtype, node))
        for value in node.outputs:
            if _is_float(value):
                value.type = ir.TensorType(node_dtype)
    _cast_outputs(graph, dtype if io else FP32)


def find_unsupported(model: ir.Model, dtype: ir.DataType) -> frozenset[str]:
    """Names of the nodes whose operator does not support `dtype` at the opset of `model`."""
    opset, word = model.opset_imports[""], f"tensor({dtype.name.lower()})"
    names = set()
    for node in model.graph:
        schema = onnx.defs.get_schema(node.op_type, opset, node.domain)
        allowed = {one.type_param_str: one.allowed_type_strs for one in schema.type_constraints}
        first = schema.outputs[0].type_str
        if word not in allowed.get(first, [first]) and node.op_type != "Cast":
            names.add(str(node.name))
    return frozenset(names)


def find_convertible(graph: ir.Graph) -> list[ir.Node]:
    """The nodes that `cast_graph` converts if `fp32_nodes` is empty, in graph order."""
    return [
        node
        for node in graph
        if not stays_fp32(node) and any(_is_float(value) for value in node.outputs)
    ]


def stays_fp32(node: ir.Node) -> bool:
    """Whether `node` stays in fp32 in every model."""
    residual = node.op_type == "Add" and all(read_constant(value) is None for value in node.inputs)
    return node.op_type in FP32_OPS or residual


class _Casts:
    """Values in another type, each cast once for all nodes that read it."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self._values: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}

    def convert(self, value: ir.Value, dtype: ir.DataType, reader: ir.Node) -> ir.Value:
        """`value` as `dtype`: itself, a new constant, or a Cast in front of `reader`."""
        if value.dtype == dtype:
            return value
        if (value, dtype) not in self._values:
            array = read_constant(value)
            self._values[value, dtype] = (
                _insert_cast(self.graph, value, dtype, reader)
                if array is None
                else add_initializer(self.graph, f"{value.name}/half", array.astype(dtype.numpy()))
            )
        return self._values[value, dtype]


def _insert_cast(graph: ir.Graph, value: ir.Value, dtype: ir.DataType, reader: ir.Node) -> ir.Value:
    node = ir.node("Cast", [value], {"to": dtype}, name=f"{reader.name}/Cast_of_{value.name}")
    output = node.outputs[0]
    output.name, output.shape = f"{value.name}/{dtype.name}", value.shape
    output.type = ir.TensorType(dtype)
    graph.insert_before(reader, node)
    return output


def _cast_outputs(graph: ir.Graph, dtype: ir.DataType) -> None:
    """Cast the graph's outputs to `dtype`; they keep their names."""
    for position, value in enumerate(graph.outputs):
        if value.dtype != dtype:
            name = value.name
            value.name = f"{name}/{FP16.name}"
            node = ir.node("Cast", [value], {"to": dtype}, name=f"{name}/Cast")
            output = node.outputs[0]
            output.name, output.shape, output.type = name, value.shape, ir.TensorType(dtype)
            graph.append(node)
            graph.outputs[position] = output


def _is_float(value: ir.Value | None) -> bool:
    return value is not None and value.dtype in {FP16, FP32, BF16}
