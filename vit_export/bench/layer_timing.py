"""Time of a linear layer by scheme: ONNX files of nothing else, interleaved in ONNX Runtime."""

import tempfile
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import onnx_ir as ir

from vit_export.artifact.budget import FP32
from vit_export.bench.candidates import Candidate
from vit_export.bench.gemm import GEMMS_PER_FILE, Gemm
from vit_export.bench.interleave import Worker, time_interleaved
from vit_export.core.progress import ReportShare, track
from vit_export.graph.builder import add_initializer
from vit_export.quantization.plan import LayerPlan, QuantizationPlan
from vit_export.quantization.qdq import write_plan
from vit_export.quantization.schemes import SCHEMES, QuantParams
from vit_export.quantization.weights import Floats, round_to_nearest

ROUNDS = 5
BURST_MS = 100


def time_layers(
    gemms: Collection[Gemm],
    schemes: Sequence[str],
    flavour: str,
    threads: int | None,
    report_share: ReportShare | None = None,
) -> dict[tuple[Gemm, str], float]:
    """Return the milliseconds of one layer by its sizes and scheme; fp32 is added to the schemes.

    Args:
        gemms: sizes of the layers: rows, in features, out features.
        schemes: keys of `SCHEMES`.
        flavour: the runtime that the graph is written for, as `--for` names it.
        threads: number of threads; None leaves ONNX Runtime its default.
        report_share: receives the share of `gemms` that is done.

    Raises:
        BuildError: ONNX Runtime can't run one of the files.
    """
    layer_ms = {}
    names = (FP32, *schemes)
    for gemm in track(gemms, len(gemms), report_share):
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            turns: list[tuple[Worker, Sequence[int]]] = []
            for name in names:
                path = Path(folder) / f"{name}.onnx"
                write_layers(path, gemm, name, flavour)
                file = Candidate(name=name, kind="onnxruntime", path=str(path), threads=threads)
                turns.append((stack.enter_context(Worker(file)), gemm[:2]))
            times_ms = time_interleaved(turns, ROUNDS, BURST_MS)
        for name, bursts in zip(names, times_ms, strict=True):
            # the least: whatever else runs on the machine only adds to it
            layer_ms[gemm, name] = min(map(min, bursts)) / GEMMS_PER_FILE
    return layer_ms


def write_layers(path: Path, gemm: Gemm, scheme: str, flavour: str) -> None:
    """Write `GEMMS_PER_FILE` layers of one size and scheme as an ONNX file.

    Each layer reads its own copy of the input (times 1); otherwise they would share the cost of
    quantizing the input.
    """
    rows, inner, columns = gemm
    x = ir.Value(name="x", shape=ir.Shape((rows, inner)), type=ir.TensorType(ir.DataType.FLOAT))
    graph = ir.Graph([x], [], nodes=[], name="layers", opset_imports={"": 20})
    model = ir.Model(graph, ir_version=10)
    random = np.random.default_rng(0)
    layers = {}
    for number in range(GEMMS_PER_FILE):
        name = f"{number}.layer"
        weight = random.standard_normal((columns, inner), np.float32)
        _append_layer(graph, name, weight, rows)
        if scheme != FP32:
            layers[name] = _plan_layer(weight, scheme)
    if layers:
        write_plan(model, QuantizationPlan(layers=layers), flavour)
    ir.save(model, path)


def _append_layer(graph: ir.Graph, name: str, weight: Floats, rows: int) -> None:
    (x,) = graph.inputs
    one = add_initializer(graph, f"{name}/factor", np.array(1, np.float32))
    copy = ir.node("Mul", [x, one], name=f"{name}/Mul")
    copy.outputs[0].shape, copy.outputs[0].type = x.shape, x.type
    constants = {"weight": weight, "bias": np.zeros(len(weight), np.float32)}
    inputs = [add_initializer(graph, f"{name}/{word}", array) for word, array in constants.items()]
    gemm = ir.node("Gemm", [copy.outputs[0], *inputs], {"transB": 1}, name=f"{name}/Gemm")
    y = gemm.outputs[0]
    y.name, y.type = f"{name}/y", ir.TensorType(ir.DataType.FLOAT)
    y.shape = ir.Shape([rows, len(weight)])
    graph.extend([copy, gemm])
    graph.outputs.append(y)


def _plan_layer(weight: Floats, scheme: str) -> LayerPlan:
    """Return a plan with a typical range; its numbers do not change the time."""
    definition = SCHEMES[scheme]
    typical = QuantParams(1 / 32, 128 if definition.zero_point else None)
    return LayerPlan(
        scheme=scheme,
        weight=round_to_nearest(
            weight, definition.bits, definition.block, pairs=definition.limits_pairs
        ),
        bias=np.zeros(len(weight), np.float32),
        params=None if definition.activations == "batch" else typical,
    )
