"""ONNX Runtime's own int8 quantizers, in their fastest settings.

Their other settings are no stronger baseline, as trials on a ViT-Ti and a ViT-B showed. Unsigned
weights were slower. Quantized outputs, the static default, were slower and less exact. One scale
for all output channels, an int8 head and an int8 patch convolution saved no time.
"""

from collections.abc import Callable
from pathlib import Path

from vit_export.bench.silence import silence
from vit_export.core.numerics import Array


def quantize_dynamic(source: Path, path: Path, _: Array) -> None:
    """Quantize the file `source` with activation scales of run time, one for a whole batch."""
    from onnxruntime import quantization

    with silence():
        quantization.quantize_dynamic(
            source,
            path,
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
        )


def quantize_static(source: Path, path: Path, batches: Array) -> None:
    """Quantize the file `source` to Q/DQ; ranges are the extremes on `batches` (M, B, C, H, W)."""
    from onnxruntime import quantization

    with silence():
        quantization.quantize_static(
            source,
            path,
            _CalibrationReader(batches),
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            calibrate_method=quantization.CalibrationMethod.MinMax,
            extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul"]},
        )


QUANTIZERS: dict[str, Callable[[Path, Path, Array], None]] = {
    "dynamic": quantize_dynamic,
    "static": quantize_static,
}
"""Quantizers by name; each reads a file, writes another, and may calibrate on batches."""


class _CalibrationReader:
    """Yields one batch per call, as the static quantizer expects."""

    def __init__(self, batches: Array) -> None:
        self._batches = iter(batches)

    def get_next(self) -> dict[str, Array] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"image": batch}
