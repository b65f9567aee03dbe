"""ONNX files in int8 as ONNX Runtime's own quantizers write them, in their fastest settings.

Their other settings were tried on a ViT-Ti and a ViT-B and are no stronger a peer: unsigned weights
were slower; so were answers that are quantized too (the static default), and less exact; one scale
for all output channels, the head in int8 and the patch convolution in int8 won no time.
"""

import contextlib
import io
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from vit_export.core.numerics import Array


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
