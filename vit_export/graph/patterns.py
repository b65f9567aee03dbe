"""Attention as it stands in a plain graph: found by its softmax, told by what goes in."""

from dataclasses import dataclass

import onnx_ir as ir

from vit_export.graph.builder import after, before, constant, permutation, producer

HEADS_FIRST = (0, 2, 1, 3)
"""(B, N, h, d) to (B, h, N, d), and back."""
KEYS_TURNED = (0, 2, 3, 1)
"""(B, N, h, d) to (B, h, d, N)."""


@dataclass(frozen=True, eq=False)
class Attention:
    """softmax(q k) v, without mask and scale."""

    inputs: tuple[ir.Value, ir.Value, ir.Value]
    """Queries, keys and values before they were cut into heads: (B·N, D)."""
    queries: int
    """How many tokens ask, ..."""
    keys: int
    """... and how many are asked."""
    heads: int
    width: int
    """D"""
    scores: ir.Node
    """The MatMul of queries and keys."""
    mixed: ir.Node
    """The MatMul of what softmax answers and values."""
    joined: ir.Node
    """The Transpose to (B, N, h, d) that its answer goes through."""


def attentions(graph: ir.Graph) -> list[Attention]:
    """Every attention of the plain form in `graph`, in order."""
    found = [_match(node) for node in graph if node.op_type == "Softmax"]
    return [one for one in found if one is not None]


def _match(softmax: ir.Node) -> Attention | None:
    scores, mixed = before(softmax, "MatMul"), after(softmax, "MatMul")
    joined = after(mixed, "Transpose")
    if scores is None or mixed is None or joined is None or permutation(joined) != HEADS_FIRST:
        return None
    queries = _uncut(scores.inputs[0], HEADS_FIRST)
    keys = _uncut(scores.inputs[1], KEYS_TURNED)
    values = _uncut(mixed.inputs[1], HEADS_FIRST)
    if queries is None or keys is None or values is None:
        return None
    _, asking, heads, channels = queries[1]
    return Attention(
        inputs=(queries[0], keys[0], values[0]),
        queries=asking,
        keys=keys[1][1],
        heads=heads,
        width=heads * channels,
        scores=scores,
        mixed=mixed,
        joined=joined,
    )


def _uncut(
    value: ir.Value | None, perm: tuple[int, ...]
) -> tuple[ir.Value, tuple[int, ...]] | None:
    """What stands before Transpose(Reshape(x)), and its shape in heads, (-1, N, h, d)."""
    transpose = producer(value, "Transpose")
    reshape = before(transpose, "Reshape")
    if reshape is None or reshape.inputs[0] is None or permutation(transpose) != perm:
        return None
    shape = constant(reshape.inputs[1])
    if shape is None or shape.size != len(perm):
        return None
    return reshape.inputs[0], tuple(int(axis) for axis in shape)
