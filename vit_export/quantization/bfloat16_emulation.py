"""bf16 emulated on a CPU: a graph that computes in fp32 and rounds to bf16 after each node."""

import onnx_ir as ir

from vit_export.graph.builder import add_initializer, read_constant
from vit_export.graph.passes.remove_unused import remove_unused
from vit_export.quantization.float16 import BF16, FP32


def emulate_bf16(model: ir.Model) -> int:
    """Replace bf16 values of `model` by fp32 values that are rounded to bf16, in place.

    Sums are accumulated in fp32 and rounded once, as on tensor cores. Return the number of values.
    """
    graph, count = model.graph, 0
    for value in list(graph.initializers.values()):
        array = read_constant(value)
        if value.dtype == BF16 and array is not None:
            weight = add_initializer(graph, f"{value.name}/fp32", array.astype(FP32.numpy()))
            ir.convenience.replace_all_uses_with(value, weight)
    for node in list(graph):
        if node.op_type == "Cast" and node.attributes["to"].as_int() == BF16:
            node.attributes["to"] = ir.AttrInt64("to", FP32)
        for value in node.outputs:
            if value.dtype == BF16:
                _round(graph, node, value)
                count += 1
    remove_unused(model)  # the weights in bf16
    return count


def _round(graph: ir.Graph, node: ir.Node, value: ir.Value) -> None:
    """Cast `value` to bf16 and back, for all nodes that read it."""
    value.type = ir.TensorType(FP32)
    readers = tuple(value.uses())
    there = ir.node("Cast", [value], {"to": BF16}, name=f"{node.name}/{value.name}/to_bf16")
    back = ir.node("Cast", [there.outputs[0]], {"to": FP32}, name=f"{there.name}/back")
    for cast, dtype in ((there, BF16), (back, FP32)):
        cast.outputs[0].name = f"{cast.name}/out"
        cast.outputs[0].shape, cast.outputs[0].type = value.shape, ir.TensorType(dtype)
    graph.insert_after(node, [there, back])
    for reader, position in readers:
        reader.replace_input_with(position, back.outputs[0])
