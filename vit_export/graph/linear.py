"""Linear layers as they stand in a graph."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from vit_export.graph.builder import constant, scope

WITH_BIAS = 3
"""Inputs of a Gemm."""


@dataclass(frozen=True, eq=False)
class Linear:
    """x Wᵀ + b, a Gemm."""

    module: str
    node: ir.Node
    input: ir.Value
    """(M, K)"""
    weight: npt.NDArray[np.float32]
    """(N, K)"""
    bias: npt.NDArray[np.float32]
    """(N,)"""

    @property
    def output(self) -> ir.Value:
        """(M, N)."""
        return self.node.outputs[0]


def linears(graph: ir.Graph) -> list[Linear]:
    """Every Gemm with a constant weight and a bias, in order."""
    found = [_match(node) for node in graph if node.op_type == "Gemm"]
    return [one for one in found if one is not None]


def _match(node: ir.Node) -> Linear | None:
    if len(node.inputs) != WITH_BIAS or node.inputs[0] is None:
        return None
    weight, bias = constant(node.inputs[1]), constant(node.inputs[2])
    if weight is None or bias is None or not node.attributes.get_int("transB", 0):
        return None
    return Linear(scope(node), node, node.inputs[0], weight, bias)
