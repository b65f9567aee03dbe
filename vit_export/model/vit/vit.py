"""The Vision Transformer, written with einops to be read from top to bottom: the reference.

`vit.py` embeds, `block.py` encodes, `head.py` pools and classifies. Nothing here is arranged for
export; `lowering` does that. The model is that of Dosovitskiy et al. 2021 (arXiv:2010.11929);
`VitSpec` says what later ViTs changed. B is the batch, N the tokens, D the width and h the heads.
"""

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from vit_export.model.join import join_outputs
from vit_export.model.vit.answers import answer_outputs
from vit_export.model.vit.block import EncoderBlock, build_norm
from vit_export.model.vit.head import Head
from vit_export.model.vit.spec import VitSpec


class PatchEmbedding(nn.Module):
    """Images (B, C, H, W) to tokens (B, N, D): patches, prefix tokens, positions."""

    class_token: Tensor | None
    distillation_token: Tensor | None
    register_tokens: Tensor | None
    positions: Tensor | None

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
        count = spec.positioned
        positions = nn.Parameter(0.02 * torch.randn(count, spec.width)) if count else None
        self.register_parameter("positions", positions)

    def forward(self, image: Tensor) -> Tensor:
        x: Tensor = rearrange(self.projection(image), "b d h w -> b (h w) d")
        positions = 0.0 if self.positions is None else self.positions
        if not self.spec.prefix_tokens:
            return x + positions  # (B, N, D)
        tokens = (self.class_token, self.distillation_token, self.register_tokens)
        prefix = torch.cat([token for token in tokens if token is not None])
        prefix = repeat(prefix, "n d -> b n d", b=image.shape[0])
        end = self.spec.positioned_prefix
        x = torch.cat([prefix[:, :end], x], dim=1) + positions
        return torch.cat([x[:, :end], prefix[:, end:], x[:, end:]], dim=1)  # (B, N, D)


class Vit(nn.Module):
    """A Vision Transformer: embed, encode, answer.

    `forward(image, mask)` takes normalized images (B, C, H, W). It returns logits (B, classes);
    features (B, D) if the model has no classifier; tokens (B, N, D) if it has no pool; and the
    outputs of `spec.outputs`, several of them side by side, if that names any. `mask` is
    boolean and broadcastable to (B, h, N, N): a query (third axis) attends to a key (fourth axis)
    where it is true.

    Args:
        spec: the model to build.
    """

    def __init__(self, spec: VitSpec) -> None:
        super().__init__()
        self.spec = spec
        self.embedding = PatchEmbedding(spec)
        self.embedding_norm = build_norm(spec, present=spec.norm_before_blocks)
        self.blocks = nn.ModuleList(EncoderBlock(spec) for _ in range(spec.depth))
        self.head = Head(spec)

    def forward(self, image: Tensor, mask: Tensor | None = None) -> Tensor:
        if self.spec.outputs:
            return join_outputs(answer_outputs(self, image, mask))
        x = self.embedding_norm(self.embedding(image))  # (B, N, D)
        for block in self.blocks:
            x = block(x, mask)  # (B, N, D)
        answer: Tensor = self.head(x)
        return answer  # (B, *spec.answer_shape)
