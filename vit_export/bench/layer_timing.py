"""How long linear layers take in each scheme: files of nothing else, in turns in ONNX Runtime."""

import tempfile
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from vit_export.artifact.budget import FP32
from vit_export.bench.candidates import Contestant
from vit_export.bench.interleave import Worker, interleaved
from vit_export.core.progress import Tell, counted
from vit_export.graph.builder import initializer
from vit_export.quantization.plan import LayerPlan, Plan
from vit_export.quantization.qdq import quantize_graph
from vit_export.quantization.schemes import SCHEMES, Range
from vit_export.quantization.weights import Floats, round_plainly

LAYERS = 4
"""In one file, each with weights of its own: more than stays in the nearest cache."""
ROUNDS = 5
BURST_MS = 100


@dataclass(frozen=True)
class Shape:
    """Of a linear layer."""

    rows: int
    read: int
    written: int


def layer_ms(
    shapes: Collection[Shape],
    schemes: Sequence[str],
    flavour: str,
    threads: int | None,
    tell: Tell | None = None,
) -> dict[tuple[Shape, str], float]:
    """Milliseconds of one layer by shape and scheme, fp32 among them."""
    found = {}
    for shape in counted(shapes, len(shapes), tell):
        with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
            turns: list[tuple[Worker, Sequence[int]]] = []
            for scheme in (FP32, *schemes):
                path = Path(name) / f"{scheme}.onnx"
                write_layers(path, shape, scheme, flavour)
                one = Contestant(name=scheme, kind="onnxruntime", path=str(path), threads=threads)
                turns.append((stack.enter_context(Worker(one)), (shape.rows, shape.read)))
            times = interleaved(turns, ROUNDS, BURST_MS)
        for scheme, calls in zip((FP32, *schemes), times, strict=True):
            found[shape, scheme] = min(map(min, calls)) / LAYERS  # what else ran only adds to it
    return found


def write_layers(path: Path, shape: Shape, scheme: str, flavour: str) -> None:
    """`LAYERS` layers of a shape and scheme. Each reads a product of the input of its own.

    Or else they would share what quantizing its input costs.
    """
    kind = ir.TensorType(ir.DataType.FLOAT)
    x = ir.Value(name="x", shape=ir.Shape((shape.rows, shape.read)), type=kind)
    graph = ir.Graph([x], [], nodes=[], name="layers", opset_imports={"": 20})
    model = ir.Model(graph, ir_version=10)
    random = np.random.default_rng(0)
    layers = {}
    for number in range(LAYERS):
        name = f"{number}.layer"
        weight = random.standard_normal((shape.written, shape.read), np.float32)
        _append_layer(graph, name, weight, shape.rows)
        if scheme != FP32:
            layers[name] = _plan(weight, scheme)
    if layers:
        quantize_graph(model, Plan(layers=layers), flavour)
    ir.save(model, path)


def _append_layer(graph: ir.Graph, name: str, weight: Floats, rows: int) -> None:
    (x,) = graph.inputs
    factor = initializer(graph, f"{name}/factor", np.array(1, np.float32))
    own = ir.node("Mul", [x, factor], name=f"{name}/Mul")
    own.outputs[0].shape, own.outputs[0].type = x.shape, x.type
    constants = {"weight": weight, "bias": np.zeros(len(weight), np.float32)}
    inputs = [initializer(graph, f"{name}/{word}", array) for word, array in constants.items()]
    product = ir.node("Gemm", [own.outputs[0], *inputs], {"transB": 1}, name=f"{name}/Gemm")
    made = product.outputs[0]
    made.name, made.type = f"{name}/y", ir.TensorType(ir.DataType.FLOAT)
    made.shape = ir.Shape([rows, len(weight)])
    graph.extend([own, product])
    graph.outputs.append(made)


def _plan(weight: Floats, scheme: str) -> LayerPlan:
    how = SCHEMES[scheme]
    middle: Range = (1 / 32, 128 if how.zero_point else None)
    return LayerPlan(
        scheme=scheme,
        weight=round_plainly(weight, how.bits, how.block),
        bias=np.zeros(len(weight), np.float32),
        range=None if how.activations == "batch" else middle,
    )
