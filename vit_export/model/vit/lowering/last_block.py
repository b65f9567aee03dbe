"""The last block and the head, less what the answer does not need. Exact, up to rounding.

A pool that looks at the class token needs that token's query, residual and MLP alone: of a ViT-B
with 12 blocks about 7% of all arithmetic goes. A mean over tokens that no norm stands before
commutes with the MLP's last product. B is the batch, N the tokens, D the width, K the tokens that
the pool looks at, h the heads and d the channels of a head.
"""

import torch
from torch import Tensor, nn

from vit_export.model.vit.lowering.block import (
    AttentionProducts,
    LoweredBlock,
    LoweredFeedForward,
    lower_qkv,
)
from vit_export.model.vit.lowering.rewrites import (
    average_classifiers,
    fold_layer_scale,
    fold_probe,
    rows_of,
)
from vit_export.model.vit.spec import VitSpec
from vit_export.model.vit.vit import AttentionPool, EncoderBlock, Head

MEANS = {"mean", "patch_mean"}


def lower_last(block: EncoderBlock, head: Head) -> tuple[nn.Module, nn.Module]:
    """The last block, (B·N, D) to what the head takes, and that head, to the answer."""
    spec = head.spec
    if spec.pool == "token":
        return TokenBlock(block, spec), TokenHead(head)
    if spec.pool in MEANS and not spec.norm_before_pool:
        return MeanBlock(block, spec), PooledHead(head)
    return LoweredBlock(block, spec.tokens), LoweredHead(head)


class TokenAttention(nn.Module):
    """Attention of the first K tokens over all N, (B·N, D) to (B·K, D)."""

    def __init__(self, block: EncoderBlock, spec: VitSpec) -> None:
        super().__init__()
        qkv = lower_qkv(block.attention)
        self.query, self.key_value = rows_of(qkv, 0, spec.width), rows_of(qkv, spec.width, None)
        self.projection = fold_layer_scale(block.attention.projection, block.attention_scale)
        self.products = AttentionProducts()
        self.tokens, self.kept, self.width = spec.tokens, looked_at(spec), spec.width
        self.heads = (spec.heads, spec.head_dim)

    def forward(self, x: Tensor) -> Tensor:
        queries = self.query(self.first(x)).reshape(-1, self.kept, *self.heads).transpose(1, 2)
        keys, values = (
            part.reshape(-1, self.tokens, *self.heads).transpose(1, 2)  # (B, h, N, d)
            for part in self.key_value(x).chunk(2, dim=-1)
        )
        out = self.products(queries, keys, values)
        projected: Tensor = self.projection(out.transpose(1, 2).reshape(-1, self.width))
        return projected

    def first(self, x: Tensor) -> Tensor:
        """The first K tokens of each image, (B·N, D) to (B·K, D)."""
        first = x.reshape(-1, self.tokens * self.width)[:, : self.kept * self.width]
        return first if self.kept == 1 else first.reshape(-1, self.width)


class TokenBlock(nn.Module):
    """The last block for its first K tokens, (B·N, D) to (B·K, D); all N give keys and values."""

    def __init__(self, block: EncoderBlock, spec: VitSpec) -> None:
        super().__init__()
        self.attention_norm, self.mlp_norm = block.attention_norm, block.mlp_norm
        self.attention = TokenAttention(block, spec)
        self.mlp = LoweredFeedForward(block.mlp, block.mlp_scale)

    def forward(self, x: Tensor) -> Tensor:
        x = self.attention.first(x) + self.attention(self.attention_norm(x))
        lowered: Tensor = x + self.mlp(self.mlp_norm(x))
        return lowered  # (B·K, D)


class MeanBlock(LoweredBlock):
    """The last block and the mean over its tokens, (B·N, D) to (B, D)."""

    def __init__(self, block: EncoderBlock, spec: VitSpec) -> None:
        super().__init__(block, spec.tokens)
        self.tokens = spec.tokens
        self.first = spec.prefix_tokens if spec.pool == "patch_mean" else 0

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x))
        hidden = self.mlp.activated(self.mlp_norm(x))
        lowered: Tensor = self._mean(x) + self.mlp.contract(self._mean(hidden))
        return lowered

    def _mean(self, x: Tensor) -> Tensor:
        return x.reshape(-1, self.tokens, x.shape[1])[:, self.first :].mean(dim=1)


class PooledHead(nn.Module):
    """What is pooled, (B, D), to the answer."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.pooled_norm, self.classifier = head.pooled_norm, head.classifier

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.classifier(self.pooled_norm(x))
        return answer


class TokenHead(nn.Module):
    """The tokens that the pool looks at, (B·K, D), to the answer."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.kept = looked_at(head.spec)
        self.looked_at = (-1, self.kept * head.spec.width)
        self.norm, self.pooled_norm = head.norm, head.pooled_norm
        self.classifier = head.classifier
        if self.kept > 1:
            self.classifier = average_classifiers(head.classifier, head.distillation_classifier)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pooled_norm(self.norm(x))
        answer: Tensor = self.classifier(x.reshape(self.looked_at))
        return answer


class LoweredHead(nn.Module):
    """All tokens (B·N, D) to the answer: norm, pool, norm, classify, as the spec says."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.spec = head.spec
        self.norm, self.pooled_norm = head.norm, head.pooled_norm
        self.classifier = head.classifier
        pool = head.attention_pool
        if isinstance(pool, AttentionPool):
            self.attention_pool = LoweredAttentionPool(pool, head.spec.tokens)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.classifier(self.pooled_norm(self._pool(self.norm(x))))
        return answer

    def _pool(self, x: Tensor) -> Tensor:
        if self.spec.pool == "map":
            attended: Tensor = self.attention_pool(x)
            return attended
        x = x.reshape(-1, self.spec.tokens, self.spec.width)
        if self.spec.pool == "none":
            return x
        first = 0 if self.spec.pool == "mean" else self.spec.prefix_tokens
        patches = x[:, first:].mean(dim=1)
        return torch.cat([x[:, 0], patches], 1) if self.spec.pool == "token_patch_mean" else patches


class LoweredAttentionPool(nn.Module):
    """Attention pooling, (B·N, D) to (B, D); what the probe asks is a constant."""

    query: Tensor

    def __init__(self, pool: AttentionPool, tokens: int) -> None:
        super().__init__()
        self.width = pool.projection.in_features
        self.register_buffer("query", fold_probe(pool))  # (1, h, 1, d)
        self.key_value = rows_of(pool.qkv, self.width, None)
        self.projection, self.norm = pool.projection, pool.norm
        self.mlp = LoweredFeedForward(pool.mlp, nn.Identity())
        self.per_head = (-1, tokens, pool.heads, self.width // pool.heads)

    def forward(self, x: Tensor) -> Tensor:
        keys, values = (
            part.reshape(self.per_head).transpose(1, 2)  # (B, h, N, d)
            for part in self.key_value(x).chunk(2, dim=-1)
        )
        attention = (self.query @ keys.transpose(2, 3)).softmax(dim=-1)  # (B, h, 1, N)
        pooled = self.projection((attention @ values).reshape(-1, self.width))
        lowered: Tensor = pooled + self.mlp(self.norm(pooled))
        return lowered


def looked_at(spec: VitSpec) -> int:
    """How many tokens, from the first, the answer of a class-token pool depends on."""
    return 2 if spec.distillation_token and spec.classifies else 1
