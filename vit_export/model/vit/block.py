"""One encoder block of the eager reference: attention, then the MLP, each with its LayerNorm.

B is the batch, N the tokens, D the width, h the heads and d the channels of a head.
"""

from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from vit_export.model.vit.relative_bias import RelativeBias
from vit_export.model.vit.rotation import Rotation
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
        self.rotation = nn.Identity() if spec.rotary is None else Rotation(spec, spec.rotary)
        self.relative_bias = RelativeBias(spec) if spec.relative_bias else None
        self.norm = build_norm(spec, present=spec.norm_in_attention)
        self.projection = nn.Linear(spec.width, spec.width)
        self.dropout = nn.Dropout(spec.dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        attention, values = self.attend(x, mask)
        out = torch.einsum("bhqk,bhkd->bhqd", self.dropout(attention), values)
        out = self.norm(rearrange(out, "b h n d -> b n (h d)"))
        projected: Tensor = self.projection(out)
        return projected

    def attend(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return how much each token attends to each other one, (B, h, N, N), and the values."""
        qkv = rearrange(self.qkv(x), self.pattern, qkv=3, h=self.heads)
        queries, keys, values = self.rotation(qkv[0]), self.rotation(qkv[1]), qkv[2]  # (B, h, N, d)
        energy = torch.einsum("bhqd,bhkd->bhqk", queries, keys) * self.scale
        if self.relative_bias is not None:
            energy = energy + self.relative_bias()
        if mask is not None:
            energy = energy.masked_fill(~mask, torch.finfo(energy.dtype).min)
        return energy.softmax(dim=-1), values


class FeedForward(nn.Module):
    """An MLP with one hidden layer: widen, activate, narrow; (..., D) to (..., D)."""

    def __init__(self, spec: VitSpec, hidden: int, *, has_norm: bool = False) -> None:
        super().__init__()
        self.kind = spec.mlp
        widened = 2 * hidden if spec.mlp == "swiglu" else hidden
        self.expand = nn.Linear(spec.width, widened)
        self.norm = nn.LayerNorm(hidden, eps=spec.norm_eps) if has_norm else nn.Identity()
        self.contract = nn.Linear(hidden, spec.width)
        self.dropout = nn.Dropout(spec.dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.expand(x)
        if self.kind == "swiglu":  # arXiv:2002.05202, both halves of one linear layer
            gate, x = x.chunk(2, dim=-1)
            x = functional.silu(gate) * x
        else:
            x = ACTIVATIONS[self.kind](x)
        contracted: Tensor = self.contract(self.norm(self.dropout(x)))
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
        self.mlp = FeedForward(spec, spec.hidden, has_norm=spec.norm_in_mlp)
        self.mlp_scale = LayerScale(spec.width) if spec.layer_scale else nn.Identity()
        self.dropout = nn.Dropout(spec.dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        attended = self.attention_scale(self.attention(self.attention_norm(x), mask))
        x = x + self.dropout(attended)
        out: Tensor = x + self.dropout(self.mlp_scale(self.mlp(self.mlp_norm(x))))
        return out


def build_norm(spec: VitSpec, *, present: bool) -> nn.Module:
    """Return the LayerNorm over D channels where the spec has one, else an Identity."""
    return nn.LayerNorm(spec.width, eps=spec.norm_eps) if present else nn.Identity()
