"""The Vision Transformer, written with einops and read top to bottom: the untouched reference.

Nothing here is arranged for export; `lower` does that. B is the batch, N the tokens, D the width,
h the heads and d the channels of a head. The model is that of Dosovitskiy et al. 2021
(arXiv:2010.11929); what later ViTs changed is told by `VitSpec`.
"""

from collections.abc import Callable

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn import functional

from vit_export.model.vit.spec import VitSpec

QKV_ROWS = {"interleaved": "(h d qkv)", "stacked": "(qkv h d)"}
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
}


class PatchEmbedding(nn.Module):
    """Image (B, C, H, W) to tokens (B, N, D): patches, prefix tokens, positions."""

    class_token: Tensor | None
    distillation_token: Tensor | None
    register_tokens: Tensor | None

    def __init__(self, spec: VitSpec) -> None:
        super().__init__()
        self.spec = spec
        self.projection = nn.Conv2d(
            spec.channels,
            spec.width,
            kernel_size=spec.patch_size,
            stride=spec.patch_size,
            bias=spec.patch_bias,
        )
        prefix = {
            "class_token": int(spec.class_token),
            "distillation_token": int(spec.distillation_token),
            "register_tokens": spec.register_tokens,
        }
        for name, count in prefix.items():
            tokens = nn.Parameter(torch.randn(count, spec.width)) if count else None
            self.register_parameter(name, tokens)
        covered = spec.positioned_prefix + spec.patches
        self.positions = nn.Parameter(0.02 * torch.randn(covered, spec.width))

    def forward(self, image: Tensor) -> Tensor:
        x: Tensor = rearrange(self.projection(image), "b d h w -> b (h w) d")
        if not self.spec.prefix_tokens:
            return x + self.positions  # (B, N, D)
        tokens = (self.class_token, self.distillation_token, self.register_tokens)
        prefix = torch.cat([token for token in tokens if token is not None])
        prefix = repeat(prefix, "n d -> b n d", b=image.shape[0])
        covered = self.spec.positioned_prefix
        x = torch.cat([prefix[:, :covered], x], dim=1) + self.positions
        return torch.cat([x[:, :covered], prefix[:, covered:], x[:, covered:]], dim=1)  # (B, N, D)


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
    """The MLP of one block: widen, activate, narrow."""

    def __init__(self, spec: VitSpec) -> None:
        super().__init__()
        self.kind = spec.mlp
        widened = 2 * spec.hidden if spec.mlp == "swiglu" else spec.hidden
        self.expand = nn.Linear(spec.width, widened)
        self.contract = nn.Linear(spec.hidden, spec.width)
        self.dropout = nn.Dropout(spec.dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.expand(x)
        if self.kind == "swiglu":  # arXiv:2002.05202, both halves of one linear
            gate, x = x.chunk(2, dim=-1)
            x = functional.silu(gate) * x
        else:
            x = ACTIVATIONS[self.kind](x)
        contracted: Tensor = self.contract(self.dropout(x))
        return contracted


class LayerScale(nn.Module):
    """A learned factor per channel on a residual branch (arXiv:2103.17239)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class EncoderBlock(nn.Module):
    """Two residual branches, each with its LayerNorm before: attention, then the MLP."""

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


class AttentionPool(nn.Module):
    """Tokens (B, N, D) to (B, D): a learned probe attends over them, then an MLP.

    The multi-head attention pooling of arXiv:2106.04560, which SigLIP has.
    """

    def __init__(self, spec: VitSpec) -> None:
        super().__init__()
        self.heads = spec.heads
        self.scale = spec.head_dim**-0.5
        self.probe = nn.Parameter(torch.randn(1, spec.width))
        self.qkv = nn.Linear(spec.width, 3 * spec.width, bias=spec.qkv_bias)
        self.projection = nn.Linear(spec.width, spec.width)
        self.norm = nn.LayerNorm(spec.width, eps=spec.norm_eps)
        self.mlp = FeedForward(spec)

    def forward(self, x: Tensor) -> Tensor:
        pattern = "... (qkv h d) -> qkv ... h d"
        query = rearrange(self.qkv(self.probe), pattern, qkv=3, h=self.heads)[0]  # (1, h, d)
        _, keys, values = rearrange(self.qkv(x), pattern, qkv=3, h=self.heads)  # (B, N, h, d)
        energy = torch.einsum("qhd,bnhd->bhqn", query, keys) * self.scale
        out = torch.einsum("bhqn,bnhd->bqhd", energy.softmax(dim=-1), values)
        pooled = self.projection(rearrange(out, "b 1 h d -> b (h d)"))
        answer: Tensor = pooled + self.mlp(self.norm(pooled))
        return answer


class Head(nn.Module):
    """Tokens (B, N, D) to the answer: norm, pool, norm, classify, as the spec says."""

    attention_pool: nn.Module
    classifier: nn.Module
    distillation_classifier: nn.Module

    def __init__(self, spec: VitSpec) -> None:
        super().__init__()
        self.spec = spec
        self.norm = _norm(spec, wanted=spec.norm_before_pool)
        self.pooled_norm = _norm(spec, wanted=spec.norm_after_pool)
        self.attention_pool = AttentionPool(spec) if spec.pool == "map" else nn.Identity()
        self.classifier = self.distillation_classifier = nn.Identity()
        width = spec.pooled_width
        if spec.projection is not None:
            self.classifier = nn.Linear(width, spec.projection, bias=False)
        if spec.classes is not None:
            self.classifier = nn.Linear(width, spec.classes, bias=spec.head_bias)
            if spec.distillation_token:
                self.distillation_classifier = nn.Linear(width, spec.classes, bias=spec.head_bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        answer: Tensor = self.classifier(self.pooled_norm(self.pool(x)))
        if self.spec.distillation_token and self.spec.classifies:
            # arXiv:2012.12877, section 3: the mean of both heads
            answer = (answer + self.distillation_classifier(self.pooled_norm(x[:, 1]))) / 2
        return answer

    def pool(self, x: Tensor) -> Tensor:
        """(B, N, D) to (B, D), or (B, 2D) where two vectors stand side by side; or unpooled."""
        if self.spec.pool == "none":
            return x
        if self.spec.pool == "map":
            attended: Tensor = self.attention_pool(x)
            return attended
        if self.spec.pool == "token":
            return x[:, 0]
        if self.spec.pool == "mean":
            return x.mean(dim=1)
        patches = x[:, self.spec.prefix_tokens :].mean(dim=1)
        if self.spec.pool == "token_patch_mean":
            return torch.cat([x[:, 0], patches], dim=1)
        return patches


def _norm(spec: VitSpec, *, wanted: bool) -> nn.Module:
    return nn.LayerNorm(spec.width, eps=spec.norm_eps) if wanted else nn.Identity()


class Vit(nn.Module):
    """A Vision Transformer: embed, encode, answer.

    Args:
        spec: what to build.

    `forward(image, mask)` takes images (B, C, H, W), already normalized, and answers (B, classes),
    features (B, D) without a classifier, or tokens (B, N, D) without a pool. `mask`, boolean and
    broadcastable to (B, h, N, N), is true where a query (third axis) may look at a key (fourth).
    """

    def __init__(self, spec: VitSpec) -> None:
        super().__init__()
        self.spec = spec
        self.embedding = PatchEmbedding(spec)
        self.embedding_norm = _norm(spec, wanted=spec.norm_before_blocks)
        self.blocks = nn.ModuleList(EncoderBlock(spec) for _ in range(spec.depth))
        self.head = Head(spec)

    def forward(self, image: Tensor, mask: Tensor | None = None) -> Tensor:
        x = self.embedding_norm(self.embedding(image))  # (B, N, D)
        for block in self.blocks:
            x = block(x, mask)  # (B, N, D)
        answer: Tensor = self.head(x)
        return answer  # (B, *spec.answer_shape)
