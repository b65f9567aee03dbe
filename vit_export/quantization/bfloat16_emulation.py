"""A graph that rounds as one in bf16 does, and computes in fp32: what a CPU can run of it."""

import onnx_ir as ir

from vit_export.graph.builder import add_initializer, read_constant
from vit_export.graph.passes.remove_unused import remove_unused
from vit_export.quantization.float16 import BRAIN, SINGLE


def round_in_fp32(model: ir.Model) -> int:
    """Makes every value of `model` that is bf16 an fp32 one, rounded to bf16, in place; how many.

    Sums stay in fp32 while they are added up and are rounded once, as tensor cores do.
    """
    graph, rounded = model.graph, 0
    for value in list(graph.initializers.values()):
        array = read_constant(value)
        if value.dtype == BRAIN and array is not None:
            made = add_initializer(graph, f"{value.name}/fp32", array.astype(SINGLE.numpy()))
            ir.convenience.replace_all_uses_with(value, made)
    for node in list(graph):
        if node.op_type == "Cast" and node.attributes["to"].as_int() == BRAIN:
            node.attributes["to"] = ir.AttrInt64("to", SINGLE)
        for value in node.outputs:
            if value.dtype == BRAIN:
                _round(graph, node, value)
                rounded += 1
    remove_unused(model)  # the weights in bf16
    return rounded


def _round(graph: ir.Graph, node: ir.Node, value: ir.Value) -> None:
    """`value` through bf16 and back, for all who read it."""
    value.type = ir.TensorType(SINGLE)
    readers = tuple(value.uses())
    there = ir.node("Cast", [value], {"to": BRAIN}, name=f"{node.name}/{value.name}/to_bf16")
    back = ir.node("Cast", [there.outputs[0]], {"to": SINGLE}, name=f"{there.name}/back")
    for made, dtype in ((there, BRAIN), (back, SINGLE)):
        made.outputs[0].name = f"{made.name}/out"
        made.outputs[0].shape, made.outputs[0].type = value.shape, ir.TensorType(dtype)
    graph.insert_after(node, [there, back])
    for user, position in readers:
        user.replace_input_with(position, back.outputs[0])
