"""The same model for exporters: no einops, no shape arithmetic in Python, one canonical form.

What is rewritten stands in `rewrites`. Layers that are export-friendly already (patch convolution,
norms, classifier) are shared with the eager model, not copied. B is the batch, N the tokens, D the
width, h the heads and d the channels of a head.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from vit_export.vit.eager import (
    ACTIVATIONS,
    AttentionPool,
    EncoderBlock,
    FeedForward,
    Head,
    MultiHeadAttention,
    PatchEmbedding,
    Vit,
)
from vit_export.vit.rewrites import (
    deinterleave_qkv,
    fold_attention_scale,
    fold_layer_scale,
    fold_prefix_positions,
    fold_probe,
    linear_of,
)


def lower_head(head: Head, tokens: int) -> Head:
    """The head with a lowered attention pool; one without any stays as it is."""
    if not isinstance(head.attention_pool, AttentionPool):
        return head
    with torch.device("meta"):
        lowered = Head(head.spec)
    for name, layer in head.named_children():  # shared, and the eager head is left alone
        setattr(lowered, name, layer)
    lowered.attention_pool = LoweredAttentionPool(head.attention_pool, tokens)
    return lowered


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


class LoweredAttentionPool(nn.Module):
    """Attention pooling, (B, N, D) to (B, D); what the probe asks is a constant."""

    query: Tensor

    def __init__(self, pool: AttentionPool, tokens: int) -> None:
        super().__init__()
        width = pool.projection.in_features
        self.register_buffer("query", fold_probe(pool))  # (1, h, 1, d)
        bias = None if pool.qkv.bias is None else pool.qkv.bias[width:]
        self.key_value = linear_of(pool.qkv.weight[width:], bias)
        self.projection, self.norm = pool.projection, pool.norm
        self.mlp = LoweredFeedForward(pool.mlp, nn.Identity())
        self.per_head = (-1, tokens, pool.heads, width // pool.heads)
        self.merged = (-1, width)

    def forward(self, x: Tensor) -> Tensor:
        keys, values = (
            part.reshape(self.per_head).transpose(1, 2)  # (B, h, N, d)
            for part in self.key_value(x).chunk(2, dim=-1)
        )
        attention = (self.query @ keys.transpose(2, 3)).softmax(dim=-1)  # (B, h, 1, N)
        pooled = self.projection((attention @ values).reshape(self.merged))
        lowered: Tensor = pooled + self.mlp(self.norm(pooled))
        return lowered


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
        self.head = lower_head(vit.head, vit.spec.tokens)

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
