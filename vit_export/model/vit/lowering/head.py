"""The head for exporters: what the last block answers to logits, features or tokens.

B is the batch, N the tokens, D the width, K the tokens that the pool reads, h the heads and d the
channels of a head.
"""

import torch
from torch import Tensor, nn

from vit_export.model.vit.head import AttentionPool, Head
from vit_export.model.vit.lowering.block import LoweredFeedForward
from vit_export.model.vit.lowering.rewrites import average_classifiers, fold_probe, select_rows
from vit_export.model.vit.spec import VitSpec


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
