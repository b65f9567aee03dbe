"""Whether ONNX Runtime saturates on this CPU when it sums products of 8-bit integers.

On x86 CPUs without VNNI it multiplies u8 by s8 in 16 bits, two products at a time, and clips the
sum. Files that vit-export writes have weights for which no such sum is too large, and say so in
`FITS_KEY`. For other files there is `PRECISE`, an option of ONNX Runtime that is exact and slower:
1.14 times the time of the Fashion-MNIST model with AVX2.
"""

import mmap
from functools import cache
from pathlib import Path

FITS_KEY = "vit_export_int8_sums"
"""Key in the metadata of int8 files in which no sum of two products exceeds 16 bits.

fp32 files lack it: ONNX Runtime's quantizers copy all metadata of the file that they quantize."""
FITS = "16 bits"
FITS_ENTRY = FITS_KEY.encode() + bytes((0x12, len(FITS))) + FITS.encode()
"""The entry in a file, from its key on: field 2 of StringStringEntryProto is the value."""
INT8_OPERATORS = (b"QuantizeLinear", b"MatMulInteger", b"QuantizeMatMul", b"QLinear")
"""Parts of the names of operators that every graph with 8-bit products contains."""
PRECISE = "session.x64quantprecision"
"""Name of the option; its value is `1`. It makes weights u8, whose products are wider."""
PROBE = bytes.fromhex(
    "080712003a580a180a01610a0162120179220d4d61744d756c496e7465676572"
    "1201672a0f0804080110034201624a047f7f7f7f5a130a0161120e0a0c080212"
    "080a0208010a02080462130a0179120e0a0c080612080a0208010a0208014204"
    "0a00100a"
)
"""An ONNX model: MatMulInteger of `a`, u8 (1, 4), and four weights of 127."""
EXACT = 4 * 255 * 127


def needs_precise(path: Path) -> bool:
    """Return whether ONNX Runtime needs `PRECISE` here to multiply exactly in an ONNX file.

    Only where sums saturate is the file read; its nodes stand before its weights.
    """
    if not sums_saturate():
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        has_int8 = any(content.find(name) >= 0 for name in INT8_OPERATORS)
        return has_int8 and content.find(FITS_ENTRY) < 0


@cache
def sums_saturate() -> bool:
    """Return whether ONNX Runtime answers `PROBE` wrongly here; this takes half a millisecond."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(PROBE, options, providers=["CPUExecutionProvider"])
    (product,) = session.run(None, {"a": np.full((1, 4), 255, np.uint8)})
    return bool(product.item() != EXACT)
