"""ONNX files in int8 as ONNX Runtime's own quantizers write them, in their fastest settings.

Measured in turns at batch 1, on two busy cores with VNNI; ratios of times and of noise:

- Signed weights: unsigned ones took 1.4 times as long (ViT-Ti). One scale per output channel or
  one for all was as fast, and the former 0.5 to 1.7 dB nearer.
- Static: products hand on floats. Quantizing their outputs too, the default, took 1.05 to 1.1
  times as long on a ViT-Ti and a ViT-B, and cost 1 to 2.4 dB. Signed activations were as fast; so
  was the head (Gemm) in int8, for 1.2 dB.
- The patch convolution in int8 (ConvInteger), or `quant_pre_process` before, made nothing faster.
"""

import contextlib
import io
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from vit_export.speed.contestants import Array


def quantize_dynamic(plain: Path, path: Path, _: Array) -> None:
    """Scales of activations are taken at run time, one for a whole batch."""
    from onnxruntime import quantization

    with _quiet():
        quantization.quantize_dynamic(
            plain,
            path,
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
        )


def quantize_static(plain: Path, path: Path, batches: Array) -> None:
    """Q/DQ with the least and largest activations of `batches` (M, B, C, H, W)."""
    from onnxruntime import quantization

    with _quiet():
        quantization.quantize_static(
            plain,
            path,
            _Reader(batches),
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


class _Reader:
    """Hands out batches, as the quantizer asks for them."""

    def __init__(self, batches: Array) -> None:
        self._left = iter(batches)

    def get_next(self) -> dict[str, Array] | None:
        batch = next(self._left, None)
        return None if batch is None else {"image": batch}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The quantizers' advice goes to stdout and the root logger, which gets a handler by that."""
    root = logging.getLogger()
    handlers, disabled = root.handlers[:], root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(disabled)
        root.handlers[:] = handlers
