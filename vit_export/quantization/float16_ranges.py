"""The magnitudes inside a graph, which decide what fits into fp16.

ONNX Runtime's CPU provider computes fp16 in fp32, so running a file there proves nothing about
overflow. The magnitudes of an fp32 graph on real images do.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from vit_export.artifact.records import Fp16Range
from vit_export.core.numerics import Array
from vit_export.graph.builder import read_constant
from vit_export.graph.evaluate import open_with_values
from vit_export.graph.save import save
from vit_export.quantization.float16 import find_convertible

FP16_MAX = 65504
HEADROOM = 4
"""Factor by which other images may exceed the magnitudes on the samples."""


@dataclass(frozen=True, kw_only=True)
class Fp16Analysis:
    """The nodes that have to stay in fp32, and the magnitudes of all others."""

    fp32_nodes: frozenset[str]
    """Names of nodes that write or read a tensor too large for fp16."""
    fp16_range: Fp16Range
    """The largest magnitude among the other tensors."""


def analyze_range(model: ir.Model, samples: Array) -> Fp16Analysis:
    """Measure every tensor that becomes fp16, on `samples` (M, C, H, W), one at a time.

    The inputs of a node become fp16 even if the node that writes them stays in fp32: the output of
    a LayerNorm is cast in front of every matmul.
    """
    nodes = find_convertible(model.graph)
    magnitudes = _measure_magnitudes(model, _list_tensors(nodes), samples)
    large = {name for name, size in magnitudes.items() if not size < FP16_MAX / HEADROOM}
    fp32_nodes = frozenset(
        str(node.name)
        for node in nodes
        if large & {v.name for v in (*node.inputs, *node.outputs) if v is not None}
    )
    rest = {name: size for name, size in magnitudes.items() if name not in large}
    worst = max(rest, key=lambda name: rest[name], default="")
    return Fp16Analysis(
        fp32_nodes=fp32_nodes,
        fp16_range=Fp16Range(
            largest=rest.get(worst, 0.0), limit=FP16_MAX, worst=worst, kept=len(fp32_nodes)
        ),
    )


def _list_tensors(nodes: Sequence[ir.Node]) -> list[str]:
    """The names of the float tensors that `nodes` read and write, without weights and inputs."""
    values = [v for node in nodes for v in (*node.inputs, *node.outputs) if v is not None]
    floats = [v for v in values if v.dtype == ir.DataType.FLOAT and read_constant(v) is None]
    return list(dict.fromkeys(v.name for v in floats if v.name and v.producer()))


def _measure_magnitudes(model: ir.Model, names: Sequence[str], samples: Array) -> dict[str, float]:
    """The largest |value| of each tensor on all samples, by name."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fp32.onnx"
        save(model, path, opset=model.opset_imports[""])
        session = open_with_values(onnx.load(path, load_external_data=False), path.parent, names)
        (image,) = session.get_inputs()
        copies = image.shape[0] if isinstance(image.shape[0], int) else 1  # a fixed batch
        magnitudes = dict.fromkeys(names, 0.0)
        for sample in samples:
            images = np.repeat(sample[None], copies, axis=0)
            values = session.run(list(names), {image.name: images})
            for name, value in zip(names, values, strict=True):
                magnitudes[name] = max(magnitudes[name], float(np.abs(value).max()))
    return magnitudes
