"""The head of the eager reference: norm, pool, norm, classify.

B is the batch, N the tokens, D the width, h the heads and d the channels of a head.
"""

import torch
from einops import rearrange
from torch import Tensor, nn

from vit_export.model.vit.block import FeedForward, build_norm
from vit_export.model.vit.spec import VitSpec


class AttentionPool(nn.Module):
    """Tokens (B, N, D) to one vector (B, D): a learned probe attends to them, then an MLP.

    This is the multi-head attention pooling of arXiv:2106.04560, which SigLIP uses.
    """

    def __init__(self, spec: VitSpec) -> None:
        super().__init__()
        self.heads = spec.pool_heads or spec.heads
        self.scale = (spec.width // self.heads) ** -0.5
        self.probe = nn.Parameter(torch.randn(1, spec.width))
        self.qkv = nn.Linear(spec.width, 3 * spec.width, bias=spec.qkv_bias)
        self.projection = nn.Linear(spec.width, spec.width)
        self.norm = nn.LayerNorm(spec.width, eps=spec.norm_eps)
        self.mlp = FeedForward(spec, spec.pool_hidden or spec.hidden)

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
    """Tokens (B, N, D) to the answer (B, *spec.answer_shape)."""

    attention_pool: nn.Module
    classifier: nn.Module
    distillation_classifier: nn.Module

    def __init__(self, spec: VitSpec) -> None:
        super().__init__()
        self.spec = spec
        self.norm = build_norm(spec, present=spec.norm_before_pool)
        self.pooled_norm = build_norm(spec, present=spec.norm_after_pool)
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
        return self.classify(self.norm(x))

    def classify(self, x: Tensor) -> Tensor:
        """Return the answer to tokens (B, N, D) behind the final norm."""
        answer: Tensor = self.classifier(self.pooled_norm(self.pool(x)))
        if self.spec.pools_two_tokens:
            # arXiv:2012.12877, section 3: the mean of both classifiers, or of both tokens in timm
            answer = (answer + self.distillation_classifier(self.pooled_norm(x[:, 1]))) / 2
        return answer

    def pool_features(self, x: Tensor) -> Tensor:
        """Return what the classifier reads of tokens (B, N, D) behind the final norm."""
        if not self.spec.classifies:
            return self.classify(x)
        features: Tensor = self.pooled_norm(self.pool(x))
        if self.spec.pools_two_tokens:
            features = (features + self.pooled_norm(x[:, 1])) / 2
        return features

    def pool(self, x: Tensor) -> Tensor:
        """Return the pooled tokens (B, N, D): (B, D), or (B, 2D) for `token_patch_mean`.

        With `none` the tokens come back unchanged.
        """
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
