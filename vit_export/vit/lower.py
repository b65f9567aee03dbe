"""The same model for exporters: no einops, no shape arithmetic in Python, one canonical form.

Each rewrite is a small function over weights, exact up to fp32 rounding, that hands back the very
layer it was given where there is nothing to do. Layers that are export-friendly already (patch
convolution, norms, classifier) are shared with the eager model, not copied. B is the batch, N the
tokens, D the width, h the heads and d the channels of a head.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from vit_export.spec import QkvLayout
from vit_export.vit.eager import (
    ACTIVATIONS,
    EncoderBlock,
    FeedForward,
    Head,
    LayerScale,
    MultiHeadAttention,
    PatchEmbedding,
    Vit,
)


def deinterleave_qkv(qkv: nn.Linear, heads: int, layout: QkvLayout) -> nn.Linear:
    """The fused projection with rows in the order (qkv h d); `interleaved` has (h d qkv).

    A reshape to the wanted sizes would only rename the rows; they have to move.
    """
    if layout == "stacked":
        return qkv
    row = torch.arange(qkv.out_features).reshape(heads, -1, 3).permute(2, 0, 1).flatten()
    bias = None if qkv.bias is None else qkv.bias[row]
    return _linear(qkv.weight[row], bias)


def fold_attention_scale(qkv: nn.Linear, scale: float) -> nn.Linear:
    """The fused projection, (qkv h d), whose query rows carry the factor on attention logits."""
    if scale == 1.0:
        return qkv
    factor = torch.ones(qkv.out_features)
    factor[: qkv.out_features // 3] = scale
    bias = None if qkv.bias is None else qkv.bias * factor
    return _linear(qkv.weight * factor[:, None], bias)


def fold_layer_scale(linear: nn.Linear, scale: nn.Module) -> nn.Linear:
    """The linear before a LayerScale with its factors in the rows; unscaled it stays as it is."""
    if not isinstance(scale, LayerScale):
        return linear
    bias = None if linear.bias is None else linear.bias * scale.gamma
    return _linear(linear.weight * scale.gamma[:, None], bias)


def fold_prefix_positions(embedding: PatchEmbedding) -> tuple[Tensor | None, Tensor]:
    """Prefix tokens with their positions added, (P, D) or None, and the patches' positions."""
    covered = embedding.spec.positioned_prefix
    positions = embedding.positions[covered:]  # (patches, D)
    tokens = (embedding.class_token, embedding.distillation_token, embedding.register_tokens)
    present = [token for token in tokens if token is not None]
    if not present:
        return None, positions
    prefix = torch.cat(present)
    return torch.cat(
        [prefix[:covered] + embedding.positions[:covered], prefix[covered:]]
    ), positions


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    rows, columns = weight.shape
    linear = nn.Linear(columns, rows, bias=bias is not None, device="meta")
    linear.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        linear.bias = nn.Parameter(bias, requires_grad=False)
    return linear


class LoweredEmbedding(nn.Module):
    """Image (B, C, H, W) to tokens (B, N, D)."""

    prefix: Tensor | None
    positions: Tensor

    def __init__(self, embedding: PatchEmbedding) -> None:
        super().__init__()
        self.projection = embedding.projection
        prefix, positions = fold_prefix_positions(embedding)
        self.register_buffer("prefix", None if prefix is None else prefix[None])  # (1, P, D)
        self.register_buffer("positions", positions[None].clone())  # (1, patches, D)

    def forward(self, image: Tensor) -> Tensor:
        x: Tensor = self.projection(image).flatten(2).transpose(1, 2)  # (B, patches, D)
        x = x + self.positions
        if self.prefix is None:
            return x
        # The one place that must know the batch: a constant is repeated for each image.
        return torch.cat([self.prefix.expand(image.shape[0], -1, -1), x], dim=1)  # (B, N, D)


class LoweredAttention(nn.Module):
    """Attention of one block, (B, N, D) to (B, N, D); its scale stands in the query weights."""

    def __init__(self, attention: MultiHeadAttention, scale: nn.Module, tokens: int) -> None:
        super().__init__()
        qkv = deinterleave_qkv(attention.qkv, attention.heads, attention.layout)
        self.qkv = fold_attention_scale(qkv, attention.scale)
        self.projection = fold_layer_scale(attention.projection, scale)
        self.per_head = (
            -1,
            tokens,
            attention.heads,
            self.projection.in_features // attention.heads,
        )
        self.merged = (-1, tokens, self.projection.in_features)

    def forward(self, x: Tensor) -> Tensor:
        queries, keys, values = (
            part.reshape(self.per_head).transpose(1, 2)  # (B, h, N, d)
            for part in self.qkv(x).chunk(3, dim=-1)
        )
        out = functional.scaled_dot_product_attention(queries, keys, values, scale=1.0)
        projected: Tensor = self.projection(out.transpose(1, 2).reshape(self.merged))
        return projected


class LoweredFeedForward(nn.Module):
    """The MLP of one block, (B, N, D) to (B, N, D)."""

    def __init__(self, mlp: FeedForward, scale: nn.Module) -> None:
        super().__init__()
        self.kind = mlp.kind
        self.expand = mlp.expand
        self.contract = fold_layer_scale(mlp.contract, scale)

    def forward(self, x: Tensor) -> Tensor:
        x = self.expand(x)
        if self.kind == "swiglu":
            gate, x = x.chunk(2, dim=-1)
            x = functional.silu(gate) * x
        else:
            x = ACTIVATIONS[self.kind](x)
        contracted: Tensor = self.contract(x)
        return contracted


class LoweredBlock(nn.Module):
    """One encoder block, (B, N, D) to (B, N, D)."""

    def __init__(self, block: EncoderBlock, tokens: int) -> None:
        super().__init__()
        self.attention_norm = block.attention_norm
        self.attention = LoweredAttention(block.attention, block.attention_scale, tokens)
        self.mlp_norm = block.mlp_norm
        self.mlp = LoweredFeedForward(block.mlp, block.mlp_scale)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x))
        lowered: Tensor = x + self.mlp(self.mlp_norm(x))
        return lowered


class LoweredVit(nn.Module):
    """Image (B, C, H, W) to the answer (B, classes), in ops that exporters map one to one."""

    def __init__(self, vit: Vit) -> None:
        super().__init__()
        self.embedding = LoweredEmbedding(vit.embedding)
        self.embedding_norm = vit.embedding_norm
        blocks = cast("list[EncoderBlock]", list(vit.blocks))
        self.blocks = nn.ModuleList(LoweredBlock(block, vit.spec.tokens) for block in blocks)
        self.head: Head = vit.head

    def forward(self, image: Tensor) -> Tensor:
        x = self.embedding_norm(self.embedding(image))
        for block in self.blocks:
            x = block(x)
        answer: Tensor = self.head(x)
        return answer


@torch.no_grad()
def lower(vit: Vit) -> LoweredVit:
    """The export-friendly module that answers as `vit` does in evaluation: it has no dropout.

    Shapes are those of `vit`, except that a mask can't be given. `vit` itself is not changed;
    layers that no rewrite touches are shared with it, and so is its mode.
    """
    return LoweredVit(vit).train(vit.training)
