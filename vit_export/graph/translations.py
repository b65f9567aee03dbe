"""Operators of PyTorch that the exporter translates worse than ONNX allows, or not at all."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import onnx_ir as ir
import torch
from onnxscript import opset18

op: Any = opset18
"""Its annotations know tensors; the exporter passes symbols."""
GELU_OPSET = 20
"""First opset with the operator Gelu."""
HEAD_AXIS = -3
"""Axis of the heads of queries, keys and values."""


def choose_translations(opset: int) -> dict[Callable[..., Any], Callable[..., Any]]:
    """Return the translations that `torch.onnx.export` needs for `opset`, by operator."""
    if opset >= GELU_OPSET:
        return TRANSLATIONS
    return TRANSLATIONS | {torch.ops.aten.gelu.default: _translate_gelu}


def _translate_attention(  # noqa: PLR0917 the operator's own signature
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,  # noqa: ARG001 a model in evaluation drops nothing
    is_causal: bool = False,  # noqa: FBT001, FBT002
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """Write attention of any rank in four nodes, and one for each of scale, bias and mask.

    The exporter's own version takes rank 4 only, rebuilds shapes and scales twice.
    """
    axes = list(range(len(key.shape)))  # intermediate values have no shape yet
    mask = _causal_mask(query, key) if is_causal else None
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    if enable_gqa:
        key, value = (_repeat_heads(x, query.shape[HEAD_AXIS]) for x in (key, value))
    if factor != 1:
        query = op.Mul(query, factor)
    scores = op.MatMul(query, op.Transpose(key, perm=[*axes[:-2], axes[-1], axes[-2]]))
    if mask is not None:
        scores = op.Where(mask, scores, -math.inf)
    if attn_mask is None:
        weights = op.Softmax(scores, axis=-1)
    elif attn_mask.dtype == ir.DataType.BOOL:
        weights = op.Softmax(op.Where(attn_mask, scores, -math.inf), axis=-1)
        weights = op.Where(attn_mask, weights, 0.0)  # PyTorch: zeros where all of a row is masked
    else:
        weights = op.Softmax(op.Add(scores, attn_mask), axis=-1)
    return op.MatMul(weights, value)


def _repeat_heads(x: Any, heads: int) -> Any:
    """Repeat each head of keys or values for the query heads that share it."""
    own = x.shape[HEAD_AXIS]
    if own == heads:
        return x
    numbers = [head * own // heads for head in range(heads)]
    return op.Gather(x, op.Constant(value_ints=numbers), axis=len(x.shape) + HEAD_AXIS)


def _causal_mask(query: Any, key: Any) -> Any:
    """Return which of S keys each of L queries may see: (L, S), bool."""
    lengths = [op.Shape(x, start=len(x.shape) - 2, end=len(x.shape) - 1) for x in (query, key)]
    ones = op.Expand(op.Constant(value_int=1), op.Concat(*lengths, axis=0))
    return op.Cast(op.Trilu(ones, upper=0), to=ir.DataType.BOOL)


def _translate_split(x: Any, size: int, dim: int = 0) -> Any:
    """Write parts of one size in one node; the exporter's own version takes them from a sequence.

    The last part is smaller where `size` does not divide the axis.
    """
    length = x.shape[dim]
    if not isinstance(length, int) or not isinstance(size, int):
        return op.SplitToSequence(x, size, axis=dim)
    sizes = [min(size, length - start) for start in range(0, length, size)]
    return _split(x, sizes or [0], dim)


def _translate_split_with_sizes(x: Any, sizes: Sequence[int], dim: int = 0) -> Any:
    """Write parts of several sizes in one node."""
    if any(not isinstance(size, int) for size in sizes):
        return op.SplitToSequence(x, op.Concat(*sizes, axis=0), axis=dim)
    return _split(x, sizes, dim)


def _translate_unbind(x: Any, dim: int = 0) -> Any:
    """Write the parts of an axis as one Split, and a Squeeze of each."""
    length = x.shape[dim]
    if not isinstance(length, int):
        return op.SplitToSequence(x, axis=dim, keepdims=0)
    axes = op.Constant(value_ints=[dim])
    return [op.Squeeze(part, axes) for part in _split(x, [1] * length, dim)]


def _split(x: Any, sizes: Sequence[int], dim: int) -> Any:
    if len(sizes) == 1:
        return [op.Identity(x)]
    if len(set(sizes)) == 1:
        return op.Split(x, axis=dim, num_outputs=len(sizes))
    lengths = op.Constant(value_ints=list(sizes))
    parts = op.Split(x, lengths, axis=dim, num_outputs=len(sizes))
    parts[0].producer().attributes.pop("num_outputs")  # the recorder needs it, ONNX forbids it
    return parts


def _translate_gelu(x: Any, approximate: str = "none") -> Any:
    """Write GELU before opset 20 with the half last.

    With the half first, as the exporter writes it, OpenCV 4.11 and 5.0 crash while they fuse it.
    """
    if approximate == "tanh":
        cubed = op.Mul(op.Mul(op.Mul(x, x), x), 0.044715)
        bent = op.Tanh(op.Mul(op.Add(x, cubed), math.sqrt(2 / math.pi)))
    else:
        bent = op.Erf(op.Div(x, math.sqrt(2)))
    return op.Mul(op.Mul(x, op.Add(bent, 1.0)), 0.5)


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.aten.scaled_dot_product_attention.default: _translate_attention,
    torch.ops.aten.split.Tensor: _translate_split,
    torch.ops.aten.split_with_sizes.default: _translate_split_with_sizes,
    torch.ops.aten.unbind.int: _translate_unbind,
}
