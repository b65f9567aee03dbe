"""ONNX files that hold nothing but matmuls (GEMMs) of one shape.

The matmuls of a file are independent and read the same input (rows, inner). In fp32 each is a
Gemm; in int8 each is a MatMulInteger of unsigned activations and signed weights, which is the
fastest integer matmul of ONNX Runtime.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:  # the process of an artifact needs no onnx_ir
    import onnx_ir as ir

Gemm = tuple[int, int, int]
"""Sizes of one matmul: rows, inner, columns; (rows, inner) times (inner, columns)."""
GEMMS_PER_FILE = 4
"""Number of matmuls of one file; each has its own weights, as in a model, to exceed the cache."""
ZERO_POINT = 128
"""Zero point of int8 activations; scales are left out because they do not change the time."""


def write_gemms(path: Path, gemm: Gemm, arithmetic: str) -> None:
    """Write `GEMMS_PER_FILE` matmuls of one shape as an ONNX file, in "fp32" or "int8"."""
    import onnx_ir as ir

    rows, inner, _ = gemm
    dtype = ir.DataType.UINT8 if arithmetic == "int8" else ir.DataType.FLOAT
    x = ir.Value(name="x", shape=ir.Shape([rows, inner]), type=ir.TensorType(dtype))
    graph = ir.Graph([x], [], nodes=[], name="gemms", opset_imports={"": 20})
    random = np.random.default_rng(0)
    make_node = _make_int8_node if arithmetic == "int8" else _make_fp32_node
    for number in range(GEMMS_PER_FILE):
        node = make_node(graph, number, gemm, random)
        node.outputs[0].name = f"y{number}"
        graph.append(node)
        graph.outputs.append(node.outputs[0])
    ir.save(ir.Model(graph, ir_version=10), path)


def read_gemms(path: str) -> tuple[npt.NDArray[np.uint8], list[npt.NDArray[Any]]]:
    """Return a random integer input (rows, inner) for a file of matmuls, and its weights."""
    import onnx

    graph = onnx.load(path).graph
    shape = [size.dim_value for size in graph.input[0].type.tensor_type.shape.dim]
    tensors = (tensor for tensor in graph.initializer if tensor.name.startswith("w"))
    weights = [onnx.numpy_helper.to_array(tensor).copy() for tensor in tensors]
    return np.random.default_rng(1).integers(0, 256, shape, np.uint8), weights


def _make_fp32_node(
    graph: "ir.Graph", number: int, gemm: Gemm, random: np.random.Generator
) -> "ir.Node":
    import onnx_ir as ir

    from vit_export.graph.builder import add_initializer

    weight = random.standard_normal(gemm[:0:-1], np.float32)  # (columns, inner)
    inputs = [graph.inputs[0], add_initializer(graph, f"w{number}", weight)]
    node = ir.node("Gemm", inputs, {"transB": 1})
    node.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    return node


def _make_int8_node(
    graph: "ir.Graph", number: int, gemm: Gemm, random: np.random.Generator
) -> "ir.Node":
    import onnx_ir as ir

    from vit_export.graph.builder import add_initializer

    weight = random.integers(-127, 128, gemm[1:], np.int8)  # (inner, columns)
    zero_point = add_initializer(graph, f"z{number}", np.array(ZERO_POINT, np.uint8))
    inputs = [graph.inputs[0], add_initializer(graph, f"w{number}", weight), zero_point]
    node = ir.node("MatMulInteger", inputs)
    node.outputs[0].type = ir.TensorType(ir.DataType.INT32)
    return node
