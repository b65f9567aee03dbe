"""How large the numbers inside a graph get: what decides which of them fit into fp16.

ONNX Runtime's CPU provider computes fp16 in fp32, so running a file there proves nothing about
overflow; what an fp32 graph's own tensors reach on real images does.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from vit_export.backends.onnx.taps import open_tapped
from vit_export.graph.builder import read_constant
from vit_export.graph.save import save
from vit_export.quantization.float16 import halved_nodes

LARGEST = 65504
"""Of fp16."""
ROOM = 4
"""What other images may exceed these by."""


@dataclass(frozen=True, kw_only=True)
class Reach:
    """The largest magnitudes in a graph."""

    kept: frozenset[str]
    """Nodes that write or read a tensor too near to what fp16 holds: they stay in fp32."""
    worst: str
    """The tensor nearest to the limit among the others."""
    largest: float
    """Its magnitude."""

    def to_mapping(self) -> Mapping[str, Any]:
        """Plain values, for the manifest."""
        kept = len(self.kept)
        return {"worst": self.worst, "largest": self.largest, "limit": LARGEST, "kept": kept}


def reach_of(model: ir.Model, samples: npt.NDArray[np.float32]) -> Reach:
    """What every tensor that becomes fp16 reaches on `samples` (M, C, H, W), one at a time.

    What goes into a node becomes fp16 too, though a node that stays in fp32 wrote it: a LayerNorm's
    answer is cast in front of every product.
    """
    nodes = halved_nodes(model.graph)
    sizes = _sizes(model, _names(nodes), samples)
    large = {name for name, size in sizes.items() if not size < LARGEST / ROOM}
    kept = frozenset(
        str(node.name)
        for node in nodes
        if large & {v.name for v in (*node.inputs, *node.outputs) if v is not None}
    )
    fit = {name: size for name, size in sizes.items() if name not in large}
    worst = max(fit, key=lambda name: fit[name], default="")
    return Reach(kept=kept, worst=worst, largest=fit.get(worst, 0.0))


def _names(nodes: Sequence[ir.Node]) -> list[str]:
    """Of the numbers that `nodes` read and write, weights not among them."""
    values = [v for node in nodes for v in (*node.inputs, *node.outputs) if v is not None]
    floats = [v for v in values if v.dtype == ir.DataType.FLOAT and read_constant(v) is None]
    return list(dict.fromkeys(v.name for v in floats if v.name and v.producer()))


def _sizes(
    model: ir.Model, names: Sequence[str], samples: npt.NDArray[np.float32]
) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fp32.onnx"
        save(model, path, opset=model.opset_imports[""])
        session = open_tapped(onnx.load(path, load_external_data=False), path.parent, names)
        (feed,) = session.get_inputs()
        sizes = dict.fromkeys(names, 0.0)
        for sample in samples:
            found = session.run(list(names), {feed.name: sample[None]})
            for name, value in zip(names, found, strict=True):
                sizes[name] = max(sizes[name], float(np.abs(value).max()))
    return sizes
