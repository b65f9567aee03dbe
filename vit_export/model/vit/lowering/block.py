"""One encoder block for exporters: every linear layer is one matrix product with its bias.

The tokens of all images form one matrix (B·N, D). B is the batch, N the tokens, D the width, h
the heads and d the channels of a head.
"""

from collections.abc import Iterable

from torch import Tensor, nn
from torch.nn import functional

from vit_export.model.vit.block import (
    ACTIVATIONS,
    EncoderBlock,
    FeedForward,
    MultiHeadAttention,
)
from vit_export.model.vit.lowering.rewrites import (
    deinterleave_qkv,
    fold_attention_scale,
    fold_layer_scale,
    halve_pairs,
    pad_hidden,
)
from vit_export.model.vit.lowering.rotation import lower_rotation


class AttentionMatmuls(nn.Module):
    """softmax(q kᵀ + bias) v, (B, h, N, d). It is a module, so that hooks can observe its inputs.

    Its place in a block is called `products`: names of nodes and keys of manifests contain that.
    """

    bias: Tensor | None

    def __init__(self, attention: MultiHeadAttention, queries: int | None = None) -> None:
        """Read the relative bias of an attention for its first `queries` tokens, or for all."""
        super().__init__()
        relative = attention.relative_bias
        bias = None if relative is None else relative()[None, :, :queries].contiguous()
        self.register_buffer("bias", bias)  # (1, h, queries, N)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(
            queries, keys, values, attn_mask=self.bias, scale=1.0
        )


class LoweredAttention(nn.Module):
    """Attention of one block, (B·N, D) to (B·N, D); the query weights contain its scale."""

    def __init__(self, attention: MultiHeadAttention, scale: nn.Module, tokens: int) -> None:
        super().__init__()
        self.qkv = lower_qkv(attention)
        self.norm = attention.norm
        self.projection = fold_layer_scale(attention.projection, scale)
        self.tables = lower_rotation(attention.rotation, copies=2)
        self.products = AttentionMatmuls(attention)
        self.width = self.projection.in_features
        self.per_head = (-1, tokens, attention.heads, self.width // attention.heads)

    def forward(self, x: Tensor) -> Tensor:
        queries, keys, values = (
            part.transpose(1, 2) for part in self.split_heads(self.qkv(x))
        )  # (B, h, N, d)
        out = self.products(queries, keys, values)
        projected: Tensor = self.projection(self.norm(out.transpose(1, 2).reshape(-1, self.width)))
        return projected

    def split_heads(self, qkv: Tensor) -> Iterable[Tensor]:
        """Return queries, keys and values, (B, N, h, d) each, of rows (B·N, 3·D)."""
        if self.tables is None:
            return (part.reshape(self.per_head) for part in qkv.chunk(3, dim=-1))
        batch, tokens, heads, channels = self.per_head
        turning, values = qkv.split([2 * self.width, self.width], dim=-1)
        turned = self.tables.turn(turning.reshape(batch, tokens, 2 * heads, channels))
        return *turned.chunk(2, dim=2), values.reshape(self.per_head)


def lower_qkv(attention: MultiHeadAttention) -> nn.Linear:
    """Return the fused projection with rows (qkv h d), the rows of the queries scaled.

    Rotary pairs are the halves of each head.
    """
    qkv = deinterleave_qkv(attention.qkv, attention.heads, attention.layout)
    qkv = halve_pairs(qkv, attention.heads, attention.rotation)
    return fold_attention_scale(qkv, attention.scale)


class LoweredFeedForward(nn.Module):
    """The MLP of one block, (M, D) to (M, D)."""

    def __init__(self, mlp: FeedForward, scale: nn.Module) -> None:
        super().__init__()
        self.kind = mlp.kind
        self.norm = mlp.norm
        contract = fold_layer_scale(mlp.contract, scale)
        self.expand, self.contract = pad_hidden(mlp.expand, contract, mlp.norm)

    def forward(self, x: Tensor) -> Tensor:
        contracted: Tensor = self.contract(self.activate(x))
        return contracted

    def activate(self, x: Tensor) -> Tensor:
        """Return the activations that `contract` reads: (M, D) to (M, hidden)."""
        x = self.expand(x)
        if self.kind == "swiglu":
            gate, x = x.chunk(2, dim=-1)
            x = functional.silu(gate) * x
        else:
            x = ACTIVATIONS[self.kind](x)
        normed: Tensor = self.norm(x)
        return normed


class LoweredBlock(nn.Module):
    """One encoder block, (B·N, D) to (B·N, D)."""

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
