"""Linear layers and attentions in a plain graph, recognized by their nodes."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from vit_export.graph.builder import (
    find_input,
    find_producer,
    find_reader,
    module_name,
    read_constant,
    read_permutation,
)
from vit_export.graph.shapes import read_shape

GEMM_INPUTS = 3
"""Number of inputs of a Gemm with a bias."""
SCORE_AXES = 4
"""Number of axes of attention's scores."""
SWAP_HEADS = (0, 2, 1, 3)
"""(B, N, h, d) to (B, h, N, d), and back."""
TRANSPOSE_KEYS = (0, 2, 3, 1)
"""(B, N, h, d) to (B, h, d, N)."""


@dataclass(frozen=True, eq=False)
class Linear:
    """x Wᵀ + b, a Gemm."""

    module: str
    """Name of the module that the node was captured from."""
    node: ir.Node
    input: ir.Value
    """(M, K)"""
    weight: npt.NDArray[np.float32]
    """(N, K)"""
    bias: npt.NDArray[np.float32]
    """(N,)"""

    @property
    def output(self) -> ir.Value:
        """(M, N)."""
        return self.node.outputs[0]


@dataclass(frozen=True, eq=False, kw_only=True)
class Attention:
    """softmax(q kᵀ + bias) v; the scale is part of q."""

    inputs: tuple[ir.Value, ir.Value, ir.Value]
    """Queries, keys and values before the split into heads, each (B·N, D) or (B, N, h, d)."""
    query_tokens: int
    """Number of tokens that attend."""
    key_tokens: int
    """Number of tokens that are attended to."""
    heads: int
    """Number of attention heads."""
    width: int
    """Channels of a token: D."""
    score_matmul: ir.Node
    """q kᵀ."""
    value_matmul: ir.Node
    """softmax(...) v."""
    output_transpose: ir.Node
    """The Transpose behind `value_matmul`, to (B, N, h, d)."""
    bias: npt.NDArray[np.float32] | None = None
    """Constant that the scores get: (1, h or 1, N, N)."""


def find_linears(graph: ir.Graph) -> list[Linear]:
    """Return every Gemm with a constant weight and a constant bias, in graph order."""
    matches = [_match_linear(node) for node in graph if node.op_type == "Gemm"]
    return [match for match in matches if match is not None]


def find_attentions(graph: ir.Graph) -> list[Attention]:
    """Return every attention in plain operators, in graph order."""
    matches = [_match_attention(node) for node in graph if node.op_type == "Softmax"]
    return [match for match in matches if match is not None]


def _match_linear(node: ir.Node) -> Linear | None:
    if len(node.inputs) != GEMM_INPUTS or node.inputs[0] is None:
        return None
    weight, bias = read_constant(node.inputs[1]), read_constant(node.inputs[2])
    if weight is None or bias is None or not node.attributes.get_int("transB", 0):
        return None
    return Linear(module_name(node), node, node.inputs[0], weight, bias)


def _match_attention(softmax: ir.Node) -> Attention | None:
    add = find_input(softmax, "Add")
    scores, bias = _match_biased(add) if add is not None else (find_input(softmax, "MatMul"), None)
    values = find_reader(softmax, "MatMul")
    output = find_reader(values, "Transpose")
    if scores is None or values is None or output is None:
        return None
    if read_permutation(output) != SWAP_HEADS:
        return None
    q = _match_head_split(scores.inputs[0], SWAP_HEADS)
    k = _match_head_split(scores.inputs[1], TRANSPOSE_KEYS)
    v = _match_head_split(values.inputs[1], SWAP_HEADS)
    if q is None or k is None or v is None or not _fit_together(q[1], k[1], v[1]):
        return None
    if not _share_batch(*scores.inputs, values.inputs[1]):
        return None
    _, query_tokens, heads, channels = q[1]
    if bias is not None and not _fits_scores(bias, (heads, query_tokens, k[1][1])):
        return None
    return Attention(
        inputs=(q[0], k[0], v[0]),
        query_tokens=query_tokens,
        key_tokens=k[1][1],
        heads=heads,
        width=heads * channels,
        score_matmul=scores,
        value_matmul=values,
        output_transpose=output,
        bias=bias,
    )


def _fit_together(q: tuple[int, ...], k: tuple[int, ...], v: tuple[int, ...]) -> bool:
    """Whether heads and channels are the same, and each key has a value: (-1, N, h, d)."""
    return k == v and q[2:] == k[2:] and min(*q[1:], *k[1:]) > 0


def _share_batch(*values: ir.Value | None) -> bool:
    """Whether no value is broadcast over the images of another."""
    shapes = [read_shape(value) for value in values]
    return len({str(shape[0]) for shape in shapes if shape is not None}) == 1


def _match_biased(add: ir.Node) -> tuple[ir.Node | None, npt.NDArray[np.float32] | None]:
    """Return the MatMul and the constant with four axes that `add` adds, or None without both."""
    for value, other in (add.inputs, reversed(add.inputs)):
        scores, bias = find_producer(value, "MatMul"), read_constant(other)
        if scores is not None and bias is not None and bias.ndim <= SCORE_AXES:
            return scores, bias.reshape(*[1] * (SCORE_AXES - bias.ndim), *bias.shape)
    return None, None


def _fits_scores(bias: npt.NDArray[np.float32], scores: tuple[int, int, int]) -> bool:
    """Whether a bias has the shape of scores, with one or all heads and for all images."""
    heads, *tokens = scores
    first, second, *rest = bias.shape
    return first == 1 and second in {1, heads} and rest == tokens


def _match_head_split(
    value: ir.Value | None, perm: tuple[int, ...]
) -> tuple[ir.Value, tuple[int, ...]] | None:
    """Return x and the shape (-1, N, h, d) if `value` is Transpose(x, perm).

    A Reshape before it is left out; without one, x has this shape.
    """
    transpose = find_producer(value, "Transpose")
    heads = transpose.inputs[0] if transpose is not None else None
    if heads is None or read_permutation(transpose) != perm:
        return None
    reshape = find_producer(heads, "Reshape")
    if reshape is None or reshape.inputs[0] is None:
        return _read_heads(heads)
    shape = read_constant(reshape.inputs[1])
    if shape is None or shape.size != len(perm):
        return None
    return reshape.inputs[0], tuple(int(axis) for axis in shape)


def _read_heads(value: ir.Value) -> tuple[ir.Value, tuple[int, ...]] | None:
    """Return `value`, (B, N, h, d), and its shape (-1, N, h, d), if they are known."""
    _, *sizes = value.shape or (None,)
    if len(sizes) + 1 != len(SWAP_HEADS) or not all(isinstance(one, int) for one in sizes):
        return None
    return value, (-1, *(int(one) for one in sizes if isinstance(one, int)))
