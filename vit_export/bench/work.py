"""The arithmetic of one answer of a file: its FLOPs, and the matmuls that stand for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vit_export.artifact.manifest import Manifest
from vit_export.backends.open import find_backend_of
from vit_export.bench.gemm import Gemm
from vit_export.checkpoints.rebuild import ModelSource, rebuild_identical
from vit_export.core.errors import RequestError
from vit_export.model.lower import lower
from vit_export.model.model import Model
from vit_export.model.vit.flops import count_flops

if TYPE_CHECKING:  # onnx_ir is heavy, and a ViT's file is benched without it
    import onnx_ir as ir

OPSET = 20
"""The opset of a graph that shows the arithmetic of a file without one."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one image takes."""

    flops: int
    """Floating-point operations of products; a multiply-add counts as two."""
    gemms: Sequence[Gemm]
    """The matmuls that a roofline is measured with."""

    def scale_gemms(self, batch: int) -> list[Gemm]:
        """Return the matmuls for `batch` images."""
        return [(rows * batch, inner, columns) for rows, inner, columns in self.gemms]


def measure_work(path: Path, manifest: Manifest, source: ModelSource) -> Work:
    """Return the work of an artifact: by the spec of its model, by its graph, or by its code.

    Raises:
        RequestError: none of these is there.
    """
    if manifest.spec is not None:
        return Work(flops=count_flops(manifest.spec), gemms=manifest.spec.gemms(1))
    audit = find_backend_of(path).describe(path, manifest).audit
    if audit is not None:
        import onnx_ir

        return _measure_graph(onnx_ir.load(path).graph)
    if source.module is None:
        message = f"{path} has no graph that shows its arithmetic: no limit is known."
        fix = "name the code that it was exported from, as in --module net.py:build."
        raise RequestError(message, fix)
    return _measure_graph(_capture(rebuild_identical(manifest, source), manifest).graph)


def _measure_graph(graph: "ir.Graph") -> Work:
    from vit_export.graph.cost import count_flops as count_graph_flops
    from vit_export.graph.gemms import list_gemms

    return Work(flops=count_graph_flops(graph), gemms=list_gemms(graph))


def _capture(model: Model, manifest: Manifest) -> "ir.Model":
    """Return the graph that an ONNX file of the model would have."""
    from vit_export.graph.capture import capture
    from vit_export.graph.optimize import optimize

    lowered = lower(model, batch_size=manifest.batch.fixed)
    graph = capture(lowered, manifest.signature, opset=OPSET, batch=manifest.batch)
    optimize(graph, general=True)
    return graph
