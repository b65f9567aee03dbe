"""One encoder block of the eager reference: attention, then the MLP, each with its LayerNorm.

B is the batch, N the tokens, D the width, h the heads and d the channels of a head.
"""

from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from vit_export.model.vit.spec import VitSpec

QKV_ROWS = {"interleaved": "(h d qkv)", "stacked": "(qkv h d)"}
"""Order of the rows of the fused projection, by `VitSpec.qkv_layout`."""
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
}


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention of every token over every token, (B, N, D) to (B, N, D)."""

    def __init__(self, spec: VitSpec) -> None:
        super().__init__()
        self.heads = spec.heads
        self.scale = spec.scale
        self.layout = spec.qkv_layout
        self.pattern = f"b n {QKV_ROWS[spec.qkv_layout]} -> qkv b h n d"
        self.qkv = nn.Linear(spec.width, 3 * spec.width, bias=spec.qkv_bias)
        self.projection = nn.Linear(spec.width, spec.width)
        self.dropout = nn.Dropout(spec.dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        qkv = rearrange(self.qkv(x), self.pattern, qkv=3, h=self.heads)
        queries, keys, values = qkv[0], qkv[1], qkv[2]  # (B, h, N, d)
        energy = torch.einsum("bhqd,bhkd->bhqk", queries, keys) * self.scale
        if mask is not None:
            energy = energy.masked_fill(~mask, torch.finfo(energy.dtype).min)
        attention = self.dropout(energy.softmax(dim=-1))  # (B, h, N, N)
        out = torch.einsum("bhqk,bhkd->bhqd", attention, values)
        projected: Tensor = self.projection(rearrange(out, "b h n d -> b n (h d)"))
        return projected


class FeedForward(nn.Module):
    """The MLP of one block: widen, activate, narrow; (..., D) to (..., D)."""

    def __init__(self, spec: VitSpec) -> None:
        super().__init__()
        self.kind = spec.mlp
        widened = 2 * spec.hidden if spec.mlp == "swiglu" else spec.hidden
        self.expand = nn.Linear(spec.width, widened)
        self.contract = nn.Linear(spec.hidden, spec.width)
        self.dropout = nn.Dropout(spec.dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.expand(x)
        if self.kind == "swiglu":  # arXiv:2002.05202, both halves of one linear layer
            gate, x = x.chunk(2, dim=-1)
            x = functional.silu(gate) * x
        else:
            x = ACTIVATIONS[self.kind](x)
        contracted: Tensor = self.contract(self.dropout(x))
        return contracted


class LayerScale(nn.Module):
    """A learned factor for each channel of a residual branch (arXiv:2103.17239)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class EncoderBlock(nn.Module):
    """Two residual branches, (B, N, D) to (B, N, D): attention, then the MLP.

    Each branch begins with a LayerNorm.
    """

    def __init__(self, spec: VitSpec) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(spec.width, eps=spec.norm_eps)
        self.attention = MultiHeadAttention(spec)
        self.attention_scale = LayerScale(spec.width) if spec.layer_scale else nn.Identity()
        self.mlp_norm = nn.LayerNorm(spec.width, eps=spec.norm_eps)
        self.mlp = FeedForward(spec)
        self.mlp_scale = LayerScale(spec.width) if spec.layer_scale else nn.Identity()
        self.dropout = nn.Dropout(spec.dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        attended = self.attention_scale(self.attention(self.attention_norm(x), mask))
        x = x + self.dropout(attended)
        out: Tensor = x + self.dropout(self.mlp_scale(self.mlp(self.mlp_norm(x))))
        return out
