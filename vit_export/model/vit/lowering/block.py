"""One encoder block for exporters: every linear layer is one matrix product with its bias.

The tokens of all images form one matrix (B·N, D). B is the batch, N the tokens, D the width, h
the heads and d the channels of a head.
"""

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
    pad_hidden,
)


class AttentionMatmuls(nn.Module):
    """softmax(q kᵀ) v, (B, h, N, d). It is a module, so that hooks can observe its inputs.

    Its place in a block is called `products`: names of nodes and keys of manifests contain that.
    """

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(queries, keys, values, scale=1.0)


class LoweredAttention(nn.Module):
    """Attention of one block, (B·N, D) to (B·N, D); the query weights contain its scale."""

    def __init__(self, attention: MultiHeadAttention, scale: nn.Module, tokens: int) -> None:
        super().__init__()
        self.qkv = lower_qkv(attention)
        self.projection = fold_layer_scale(attention.projection, scale)
        self.products = AttentionMatmuls()
        self.width = self.projection.in_features
        self.per_head = (-1, tokens, attention.heads, self.width // attention.heads)

    def forward(self, x: Tensor) -> Tensor:
        queries, keys, values = (
            part.reshape(self.per_head).transpose(1, 2)  # (B, h, N, d)
            for part in self.qkv(x).chunk(3, dim=-1)
        )
        out = self.products(queries, keys, values)
        projected: Tensor = self.projection(out.transpose(1, 2).reshape(-1, self.width))
        return projected


def lower_qkv(attention: MultiHeadAttention) -> nn.Linear:
    """Return the fused projection with rows (qkv h d), the rows of the queries scaled."""
    qkv = deinterleave_qkv(attention.qkv, attention.heads, attention.layout)
    return fold_attention_scale(qkv, attention.scale)


class LoweredFeedForward(nn.Module):
    """The MLP of one block, (M, D) to (M, D)."""

    def __init__(self, mlp: FeedForward, scale: nn.Module) -> None:
        super().__init__()
        self.kind = mlp.kind
        contract = fold_layer_scale(mlp.contract, scale)
        self.expand, self.contract = pad_hidden(mlp.expand, contract)

    def forward(self, x: Tensor) -> Tensor:
        contracted: Tensor = self.contract(self.activate(x))
        return contracted

    def activate(self, x: Tensor) -> Tensor:
        """Return the activations that `contract` reads: (M, D) to (M, hidden)."""
        x = self.expand(x)
        if self.kind == "swiglu":
            gate, x = x.chunk(2, dim=-1)
            return functional.silu(gate) * x
        return ACTIVATIONS[self.kind](x)


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
