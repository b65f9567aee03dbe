"""Whether products of 8-bit integers can saturate on x86 CPUs without VNNI.

Such CPUs multiply u8 activations by s8 weights with `vpmaddubsw`. It adds the products of inputs 2i
and 2i + 1 in 16 bits and saturates: ONNX Runtime's kernels for AVX2 and for AVX-512 without VNNI
lost 7 to 18 dB to that. Weights that keep `PAIR_LIMIT` have the same answer on every CPU.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from vit_export.graph.builder import find_producer
from vit_export.graph.cost import INTEGER_MATMULS, count_stored_bits

PAIR_LIMIT = 128
"""Largest sum of two neighbouring weights of one sign, in steps.

Activations reach 255, and 255 * 128 fits into 16 bits."""


def sum_pairs(weight: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the sums that `PAIR_LIMIT` limits, (N, pairs), for `weight` (N, K).

    They are the sums of the positive or of the negative weights of a pair, whichever is larger in
    magnitude. Activations are never negative, so weights of different signs add to no larger sum.
    """
    padded = np.pad(weight, ((0, 0), (0, weight.shape[1] % 2)))
    pairs = padded.reshape(len(weight), -1, 2)
    positive, negative = pairs.clip(0).sum(axis=2), -pairs.clip(None, 0).sum(axis=2)
    larger: npt.NDArray[Any] = np.maximum(positive, negative)
    return larger


def find_saturating(graph: ir.Graph) -> tuple[str, ...]:
    """Return the names of products whose weights exceed `PAIR_LIMIT`."""
    return tuple(node.name or node.op_type for node in graph if _saturates(node))


def is_quantized(graph: ir.Graph) -> bool:
    """Return whether activations of `graph` have 8 bits somewhere."""
    return any(node.op_type in {"QuantizeLinear", "DynamicQuantizeLinear"} for node in graph)


def _saturates(node: ir.Node) -> bool:
    weight = _read_int8_weight(node)
    if weight is None:
        return False
    channels = np.swapaxes(weight, -1, -2).reshape(-1, weight.shape[-2]).astype(np.int32)  # (N, K)
    return bool((sum_pairs(channels) > PAIR_LIMIT).any())


def _read_int8_weight(node: ir.Node) -> npt.NDArray[Any] | None:
    """Return the stored s8 weight (..., K, N) of a product with 8-bit activations, if it is one.

    Weights in u8 are exact: the kernels widen them before they multiply.
    """
    if node.op_type in INTEGER_MATMULS:
        stored = node.inputs[1]
    elif node.op_type == "MatMul" and count_stored_bits(node.inputs[0]):
        dequantize = find_producer(node.inputs[1], "DequantizeLinear")
        stored = dequantize.inputs[0] if dequantize is not None else None
    else:
        return None
    if stored is None or stored.const_value is None or stored.const_value.dtype != ir.DataType.INT8:
        return None
    return stored.const_value.numpy()
