"""Every product of rows with a weight in one form, and every layer under a name of its own.

Quantization knows a layer by its name. A module that is called twice stands in a graph as two
layers, and so does a projection that a pass took apart.
"""

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir

from vit_export.graph.builder import NodeBuilder, module_name
from vit_export.graph.projections import Projection, find_projection
from vit_export.graph.shapes import read_shape

ROW_AXES = 2
"""Number of axes of rows."""
NAMELESS = "layer"
"""Name of a layer of the outermost module."""


def expose_linears(model: ir.Model) -> int:
    """Let each product of rows (M, K) and a constant weight be a Gemm with a bias of its own.

    Return the number of changes.
    """
    nodes = [node for node in model.graph if node.op_type in {"Gemm", "MatMul"}]
    return sum(_expose(model, node) for node in nodes)


def _expose(model: ir.Model, node: ir.Node) -> bool:
    projection = find_projection(node.outputs[0])
    if projection is None or _is_exposed(projection):
        return False
    shape = read_shape(projection.input)
    if shape is None or len(shape) != ROW_AXES:
        return False
    build, bias = NodeBuilder(model, node), projection.bias
    if bias is None:
        bias = np.zeros(projection.weight.shape[1], np.float32)
    weight = build.add_constant("weight", projection.weight.T)
    build.replace_anchor(
        build("Gemm", projection.input, weight, build.add_constant("bias", bias), transB=1)
    )
    return True


def _is_exposed(projection: Projection) -> bool:
    transposed = projection.node.attributes.get_int("transB", 0) != 0
    return transposed and projection.bias is not None


def name_layers(nodes: Iterable[ir.Node], taken: set[str]) -> list[str]:
    """Give each of `nodes` a name that no other layer has, and return the names.

    Args:
        nodes: one node for each layer, in the order of the graph.
        taken: names of layers so far; the new ones are added.
    """
    names = []
    for node in nodes:
        first = module_name(node) or NAMELESS
        name, number = first, 1
        while name in taken:
            number += 1
            name = f"{first}_{number}"
        taken.add(name)
        node.name = f"{name}/{(node.name or '').rpartition('/')[2]}"
        names.append(name)
    return names
