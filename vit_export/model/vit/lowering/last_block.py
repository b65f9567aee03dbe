"""The last block and the head, without what the output does not need. Exact up to rounding.

A pool that reads the class token needs the query, residual and MLP of that token alone: this saves
about 7% of the arithmetic of a ViT-B with 12 blocks. A mean over tokens commutes with the MLP's
last product if no norm stands between them. B is the batch, N the tokens, D the width, K the tokens
that the pool reads, h the heads and d the channels of a head.
"""

from torch import Tensor, nn

from vit_export.model.vit.block import EncoderBlock
from vit_export.model.vit.head import Head
from vit_export.model.vit.lowering.block import (
    AttentionMatmuls,
    LoweredBlock,
    LoweredFeedForward,
    lower_qkv,
)
from vit_export.model.vit.lowering.head import (
    LoweredHead,
    PooledHead,
    TokenHead,
    count_pooled_tokens,
)
from vit_export.model.vit.lowering.rewrites import fold_layer_scale, select_rows
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
