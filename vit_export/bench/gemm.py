"""Matrix products and nothing else, as ONNX files, and in the runtimes that take part in a bench.

A file holds independent products of one input (rows, columns): Gemm in fp32, or MatMulInteger of
unsigned activations with signed weights, the fastest of whole numbers that ONNX Runtime has.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vit_export.bench.candidates import Contestant, Opened
from vit_export.bench.modules import in_torch, set_threads
from vit_export.bench.sessions import in_onnxruntime

if TYPE_CHECKING:  # whoever runs an artifact alone needs no onnx_ir
    import onnx_ir as ir

LAYERS = 4
"""Products in a row, with weights of their own: no less than a model keeps out of the cache."""
ZERO_POINT = 128
"""Of activations; the step between two whole numbers plays no part in time."""


def write_products(path: Path, product: tuple[int, int, int], arithmetic: str) -> None:
    """`LAYERS` products of (rows, columns read, columns written), "fp32" or "int8"."""
    import onnx_ir as ir

    rows, read, _ = product
    kind = ir.DataType.UINT8 if arithmetic == "int8" else ir.DataType.FLOAT
    x = ir.Value(name="x", shape=ir.Shape([rows, read]), type=ir.TensorType(kind))
    graph = ir.Graph([x], [], nodes=[], name="products", opset_imports={"": 20})
    random = np.random.default_rng(0)
    node_of = _int8_node if arithmetic == "int8" else _fp32_node
    for layer in range(LAYERS):
        node = node_of(graph, layer, product, random)
        node.outputs[0].name = f"y{layer}"
        graph.append(node)
        graph.outputs.append(node.outputs[0])
    ir.save(ir.Model(graph, ir_version=10), path)


def _fp32_node(
    graph: "ir.Graph", layer: int, product: tuple[int, int, int], random: np.random.Generator
) -> "ir.Node":
    import onnx_ir as ir

    from vit_export.graph.builder import initializer

    weight = random.standard_normal(product[:0:-1], np.float32)
    node = ir.node(
        "Gemm", [graph.inputs[0], initializer(graph, f"w{layer}", weight)], {"transB": 1}
    )
    node.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    return node


def _int8_node(
    graph: "ir.Graph", layer: int, product: tuple[int, int, int], random: np.random.Generator
) -> "ir.Node":
    import onnx_ir as ir

    from vit_export.graph.builder import initializer

    weight = random.integers(-127, 128, product[1:], np.int8)
    zero = initializer(graph, f"z{layer}", np.array(ZERO_POINT, np.uint8))
    inputs = [graph.inputs[0], initializer(graph, f"w{layer}", weight), zero]
    node = ir.node("MatMulInteger", inputs)
    node.outputs[0].type = ir.TensorType(ir.DataType.INT32)
    return node


def fp32_in_torch(contestant: Contestant) -> Opened:
    """The products of a file in fp32, in PyTorch."""
    import torch
    from torch.nn.functional import linear

    set_threads(contestant)
    weights = [torch.from_numpy(weight) for weight in _read(contestant.path)[1]]
    run = in_torch(lambda x: [linear(x, weight) for weight in weights][-1])
    return run, f"torch {torch.__version__}"


def int8_in_onnxruntime(contestant: Contestant) -> Opened:
    """The products of a file in int8; activations are made here, whatever images come."""
    run, version = in_onnxruntime(contestant)
    x: Any = _read(contestant.path)[0]
    return lambda _: run(x), version


def int8_in_torch(contestant: Contestant) -> Opened:
    """The same in PyTorch: the operator that torch.compile takes for a quantized linear layer."""
    import torch

    set_threads(contestant)
    made, weights = _read(contestant.path)
    x, one = torch.from_numpy(made), torch.ops.onednn
    packed = [one.qlinear_prepack(torch.from_numpy(w.T.copy()), list(x.shape)) for w in weights]
    columns = weights[0].shape[1]
    scales, zeros = torch.ones(columns), torch.zeros(columns, dtype=torch.int64)
    output: Any = (None, 1.0, 0, torch.float32, "none", [], "")  # no bias, nothing behind it
    run = in_torch(
        lambda _: [
            one.qlinear_pointwise(x, 1.0, ZERO_POINT, weight, scales, zeros, *output)
            for weight in packed
        ][-1]
    )
    return run, f"torch {torch.__version__}"


def _read(path: str) -> tuple[npt.NDArray[np.uint8], list[npt.NDArray[Any]]]:
    """Whole numbers for the input of a file of products, and its weights."""
    import onnx

    graph = onnx.load(path).graph
    shape = [one.dim_value for one in graph.input[0].type.tensor_type.shape.dim]
    tensors = (one for one in graph.initializer if one.name.startswith("w"))
    weights = [onnx.numpy_helper.to_array(one).copy() for one in tensors]
    return np.random.default_rng(1).integers(0, 256, shape, np.uint8), weights
