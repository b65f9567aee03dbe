"""The rewrites of lowering: small functions over weights, exact up to fp32 rounding.

Each of them returns its input unchanged if there is nothing to do. D is the width, h the heads
and d the channels of a head.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from vit_export.model.vit.block import LayerScale
from vit_export.model.vit.choices import QkvLayout
from vit_export.model.vit.head import AttentionPool
from vit_export.model.vit.padding import pad_hidden_width
from vit_export.model.vit.rotation import Rotation
from vit_export.model.vit.vit import PatchEmbedding


def deinterleave_qkv(qkv: nn.Linear, heads: int, layout: QkvLayout) -> nn.Linear:
    """Return the fused projection with its rows in the order (qkv h d); `interleaved` is (h d qkv).

    The rows are permuted: a reshape would not move them.
    """
    if layout == "stacked":
        return qkv
    row = torch.arange(qkv.out_features).reshape(heads, -1, 3).permute(2, 0, 1).flatten()
    bias = None if qkv.bias is None else qkv.bias[row]
    return make_linear(qkv.weight[row], bias)


def fold_attention_scale(qkv: nn.Linear, scale: float) -> nn.Linear:
    """Return the fused projection, (qkv h d), whose query rows are multiplied by `scale`."""
    if scale == 1.0:
        return qkv
    factor = torch.ones(qkv.out_features)
    factor[: qkv.out_features // 3] = scale
    bias = None if qkv.bias is None else qkv.bias * factor
    return make_linear(qkv.weight * factor[:, None], bias)


def halve_pairs(qkv: nn.Linear, heads: int, rotation: nn.Module) -> nn.Linear:
    """Return the fused projection, (qkv h d), whose rotary pairs are the halves of each head.

    Queries and keys are permuted alike, so that their products stay the same.
    """
    if not isinstance(rotation, Rotation) or rotation.rotary.pairs == "halves":
        return qkv
    row = torch.arange(qkv.out_features).reshape(3, heads, -1, 2)  # (qkv h c pair)
    row = torch.cat([row[:2].transpose(2, 3).flatten(), row[2].flatten()])
    return make_linear(qkv.weight[row], None if qkv.bias is None else qkv.bias[row])


def fold_layer_scale(linear: nn.Linear, scale: nn.Module) -> nn.Linear:
    """Return `linear` with its rows multiplied by the factors of the LayerScale behind it."""
    if not isinstance(scale, LayerScale):
        return linear
    bias = None if linear.bias is None else linear.bias * scale.gamma
    return make_linear(linear.weight * scale.gamma[:, None], bias)


def fold_prefix_positions(embedding: PatchEmbedding) -> tuple[Tensor | None, Tensor | None]:
    """Return the prefix tokens plus their positions, (P, D), and the patches' positions.

    Either is None if the model has none.
    """
    end, positions = embedding.spec.positioned_prefix, embedding.positions
    tokens = (embedding.class_token, embedding.distillation_token, embedding.register_tokens)
    present = [token for token in tokens if token is not None]
    prefix = torch.cat(present) if present else None
    if positions is None:
        return prefix, None
    if prefix is not None:
        prefix = torch.cat([prefix[:end] + positions[:end], prefix[end:]])
    return prefix, positions[end:]


def fold_probe(pool: AttentionPool) -> Tensor:
    """Return the scaled query of an attention pool, (1, h, 1, d): a constant for every image."""
    query: Tensor = pool.qkv(pool.probe)[0, : pool.projection.in_features] * pool.scale
    return query.reshape(1, pool.heads, 1, -1)


def average_classifiers(first: nn.Module, second: nn.Module) -> nn.Linear:
    """Return a linear layer over two concatenated vectors: the mean of both layers' outputs."""
    both = [layer for layer in (first, second) if isinstance(layer, nn.Linear)]
    weight = torch.cat([layer.weight for layer in both], dim=1) / 2
    biases: list[Tensor] = [layer.bias for layer in both if layer.bias is not None]
    return make_linear(weight, torch.stack(biases).mean(dim=0) if biases else None)


def pad_hidden(
    expand: nn.Linear, contract: nn.Linear, norm: nn.Module
) -> tuple[nn.Linear, nn.Linear]:
    """Return an MLP's two layers with zero channels added between them if its rows alias.

    `padding.py` says why. Zero channels stay zero through every activation, but a norm between the
    layers would count them.
    """
    if not isinstance(norm, nn.Identity):
        return expand, contract
    hidden, halves = contract.in_features, expand.out_features // contract.in_features
    padding = pad_hidden_width(hidden) - hidden
    if padding == 0:
        return expand, contract
    weight = expand.weight.unflatten(0, (halves, hidden))  # gate and value of a gated MLP apart
    rows = functional.pad(weight, (0, 0, 0, padding)).flatten(0, 1)
    bias = None
    if expand.bias is not None:
        bias = functional.pad(expand.bias.unflatten(0, (halves, hidden)), (0, padding))
    columns = functional.pad(contract.weight, (0, padding))
    return make_linear(rows, None if bias is None else bias.flatten()), make_linear(
        columns, contract.bias
    )


def select_rows(linear: nn.Linear, first: int, end: int | None) -> nn.Linear:
    """Return the linear layer of the output rows from `first` up to, not including, `end`."""
    bias = None if linear.bias is None else linear.bias[first:end]
    return make_linear(linear.weight[first:end], bias)


def make_linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """Return a linear layer for inference with this weight (out, in) and bias (out,) or None."""
    rows, columns = weight.shape
    linear = nn.Linear(columns, rows, bias=bias is not None, device="meta").eval()
    linear.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        linear.bias = nn.Parameter(bias, requires_grad=False)
    return linear
