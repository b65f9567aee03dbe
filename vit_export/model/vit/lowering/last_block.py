"""The last block and the head, without what the output does not need. Exact up to rounding.

A pool that reads the class token needs the query, residual and MLP of that token alone: this saves
about 7% of the arithmetic of a ViT-B with 12 blocks. A mean over tokens commutes with the MLP's
last product if no norm stands between them. B is the batch, N the tokens, D the width, K the tokens
that the pool reads, h the heads and d the channels of a head.
"""

import torch
from torch import Tensor, nn

from vit_export.model.vit.block import EncoderBlock
from vit_export.model.vit.head import AttentionPool, Head
from vit_export.model.vit.lowering.block import (
    AttentionMatmuls,
    LoweredBlock,
    LoweredFeedForward,
    lower_qkv,
)
from vit_export.model.vit.lowering.rewrites import (
    average_classifiers,
    fold_layer_scale,
    fold_probe,
    select_rows,
)
from vit_export.model.vit.lowering.rotation import lower_rotation
from vit_export.model.vit.spec import VitSpec

MEANS = {"mean", "patch_mean"}
"""Pools that average tokens."""


def lower_last(block: EncoderBlock, head: Head) -> tuple[nn.Module, nn.Module]:
    """Return the lowered last block, which takes (B·N, D), and the head that takes its output."""
    spec = head.spec
    if spec.pool == "token":
        return TokenBlock(block, spec), TokenHead(head)
    if spec.pool in MEANS and not spec.norm_before_pool:
        return MeanBlock(block, spec), PooledHead(head)
    return LoweredBlock(block, spec.tokens), LoweredHead(head)


class TokenAttention(nn.Module):
    """Attention of the first K tokens over all N, (B·N, D) to (B·K, D).

    They are no patches, so that rotary positions turn the keys alone.
    """

    def __init__(self, block: EncoderBlock, spec: VitSpec) -> None:
        super().__init__()
        qkv = lower_qkv(block.attention)
        self.query, self.key_value = (
            select_rows(qkv, 0, spec.width),
            select_rows(qkv, spec.width, None),
        )
        self.tables = lower_rotation(block.attention.rotation, copies=1)
        self.norm = block.attention.norm
        self.projection = fold_layer_scale(block.attention.projection, block.attention_scale)
        self.tokens, self.width = spec.tokens, spec.width
        self.pool_tokens = count_pooled_tokens(spec)
        self.products = AttentionMatmuls(block.attention, self.pool_tokens)
        self.query_per_head = (-1, self.pool_tokens, spec.heads, spec.head_dim)
        self.per_head = (-1, spec.tokens, spec.heads, spec.head_dim)

    def forward(self, x: Tensor) -> Tensor:
        queries = self.query(self.take_first(x)).reshape(self.query_per_head).transpose(1, 2)
        keys, values = (
            part.reshape(self.per_head) for part in self.key_value(x).chunk(2, dim=-1)
        )  # (B, N, h, d)
        if self.tables is not None:
            keys = self.tables.turn(keys)
        out = self.products(queries, keys.transpose(1, 2), values.transpose(1, 2))
        projected: Tensor = self.projection(self.norm(out.transpose(1, 2).reshape(-1, self.width)))
        return projected

    def take_first(self, x: Tensor) -> Tensor:
        """Return the first K tokens of each image, (B·N, D) to (B·K, D)."""
        first = x.reshape(-1, self.tokens * self.width)[:, : self.pool_tokens * self.width]
        return first if self.pool_tokens == 1 else first.reshape(-1, self.width)


class TokenBlock(nn.Module):
    """The last block for its first K tokens, (B·N, D) to (B·K, D); all N are keys and values."""

    def __init__(self, block: EncoderBlock, spec: VitSpec) -> None:
        super().__init__()
        self.attention_norm, self.mlp_norm = block.attention_norm, block.mlp_norm
        self.attention = TokenAttention(block, spec)
        self.mlp = LoweredFeedForward(block.mlp, block.mlp_scale)

    def forward(self, x: Tensor) -> Tensor:
        x = self.attention.take_first(x) + self.attention(self.attention_norm(x))
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
        hidden = self.mlp.activate(self.mlp_norm(x))
        lowered: Tensor = self._mean(x) + self.mlp.contract(self._mean(hidden))
        return lowered

    def _mean(self, x: Tensor) -> Tensor:
        return x.reshape(-1, self.tokens, x.shape[1])[:, self.first :].mean(dim=1)


class PooledHead(nn.Module):
    """Pooled vectors (B, D) to the answer."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.pooled_norm, self.classifier = head.pooled_norm, head.classifier

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.classifier(self.pooled_norm(x))
        return answer


class TokenHead(nn.Module):
    """The K tokens of each image that the pool reads, (B·K, D), to the answer."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.pool_tokens = count_pooled_tokens(head.spec)
        self.side_by_side = (-1, self.pool_tokens * head.spec.width)
        self.norm, self.pooled_norm = head.norm, head.pooled_norm
        self.classifier = head.classifier
        if self.pool_tokens > 1 and head.spec.classifies:
            self.classifier = average_classifiers(head.classifier, head.distillation_classifier)
        elif self.pool_tokens > 1:
            self.classifier = TokenMean(self.pool_tokens, head.spec.width)
        self.has_classes = head.spec.classifies

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.norm(x))

    def classify(self, x: Tensor) -> Tensor:
        """Return the answer to tokens (B·K, D) behind the final norm."""
        answer: Tensor = self.classifier(self.pooled_norm(x).reshape(self.side_by_side))
        return answer

    def pool_features(self, x: Tensor) -> Tensor:
        """Return the features (B, D) of tokens (B·K, D) behind the final norm."""
        if not self.has_classes:
            return self.classify(x)
        pooled: Tensor = self.pooled_norm(x)
        if self.pool_tokens == 1:
            return pooled
        return pooled.reshape(-1, self.pool_tokens, pooled.shape[1]).mean(dim=1)


class TokenMean(nn.Module):
    """K tokens side by side (B, K·D) to their mean (B, D)."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.per_token = (-1, tokens, width)

    def forward(self, x: Tensor) -> Tensor:
        mean: Tensor = x.reshape(self.per_token).mean(dim=1)
        return mean


class LoweredHead(nn.Module):
    """All tokens (B·N, D) to the answer: norm, pool, norm, classify."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.spec = head.spec
        self.norm, self.pooled_norm = head.norm, head.pooled_norm
        self.classifier = head.classifier
        pool = head.attention_pool
        if isinstance(pool, AttentionPool):
            self.attention_pool = LoweredAttentionPool(pool, head.spec.tokens)

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.norm(x))

    def classify(self, x: Tensor) -> Tensor:
        """Return the answer to tokens (B·N, D) behind the final norm."""
        answer: Tensor = self.classifier(self.pooled_norm(self._pool(x)))
        return answer

    def pool_features(self, x: Tensor) -> Tensor:
        """Return the features (B, D) of tokens (B·N, D) behind the final norm."""
        if not self.spec.classifies:
            return self.classify(x)
        pooled: Tensor = self.pooled_norm(self._pool(x))
        return pooled

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
    """Attention pooling, (B·N, D) to (B, D); the query of the probe is a constant."""

    query: Tensor

    def __init__(self, pool: AttentionPool, tokens: int) -> None:
        super().__init__()
        self.width = pool.projection.in_features
        self.register_buffer("query", fold_probe(pool))  # (1, h, 1, d)
        self.key_value = select_rows(pool.qkv, self.width, None)
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


def count_pooled_tokens(spec: VitSpec) -> int:
    """Return K for a class-token pool: the number of first tokens that the output depends on."""
    return 2 if spec.pools_two_tokens else 1
