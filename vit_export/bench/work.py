"""The arithmetic of one answer of a file: its FLOPs, and the matmuls that stand for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vit_export.artifact.manifest import Manifest
from vit_export.backends.open import find_backend_of
from vit_export.bench.gemm import Gemm
from vit_export.core.errors import RequestError
from vit_export.model.vit.flops import count_flops


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


def measure_work(path: Path, manifest: Manifest) -> Work:
    """Return the work of an artifact: by the spec of its model, else by its graph.

    Raises:
        RequestError: neither is there.
    """
    if manifest.spec is not None:
        return Work(flops=count_flops(manifest.spec), gemms=manifest.spec.gemms(1))
    audit = find_backend_of(path).describe(path, manifest).audit
    if audit is None:
        message = f"{path} is no graph, and its model is no known family: no limit is known."
        raise RequestError(message, "bench its ONNX file.")
    import onnx_ir

    from vit_export.graph.gemms import list_gemms

    return Work(flops=audit.flops, gemms=list_gemms(onnx_ir.load(path).graph))
