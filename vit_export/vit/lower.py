"""The same model for exporters: no einops, no shape arithmetic in Python, one canonical form.

Blocks are lowered in `lower_block`, the last one and the head in `lower_last`, which leaves out
what no answer needs; what is done to weights stands in `rewrites`. Layers that are export-friendly
already (patch convolution, norms) are shared with the eager model, not copied. B is the batch, N
the tokens, D the width.
"""

from typing import cast

import torch
from torch import Tensor, nn

from vit_export.vit.eager import EncoderBlock, PatchEmbedding, Vit
from vit_export.vit.lower_block import LoweredBlock
from vit_export.vit.lower_last import lower_last
from vit_export.vit.rewrites import fold_prefix_positions


class LoweredEmbedding(nn.Module):
    """Image (B, C, H, W) to tokens (B·N, D)."""

    prefix: Tensor | None
    positions: Tensor

    def __init__(self, embedding: PatchEmbedding) -> None:
        super().__init__()
        self.projection = embedding.projection
        self.width = embedding.spec.width
        prefix, positions = fold_prefix_positions(embedding)
        self.register_buffer("prefix", None if prefix is None else prefix[None])  # (1, P, D)
        self.register_buffer("positions", positions[None].clone())  # (1, patches, D)

    def forward(self, image: Tensor) -> Tensor:
        x: Tensor = self.projection(image).flatten(2).transpose(1, 2)  # (B, patches, D)
        x = x + self.positions
        if self.prefix is not None:
            # The one place that must know the batch: a constant is repeated for each image.
            x = torch.cat([self.prefix.expand(image.shape[0], -1, -1), x], dim=1)  # (B, N, D)
        return x.reshape(-1, self.width)


class LoweredVit(nn.Module):
    """Image (B, C, H, W) to the answer, in ops that exporters map one to one."""

    def __init__(self, vit: Vit) -> None:
        super().__init__()
        self.embedding = LoweredEmbedding(vit.embedding)
        self.embedding_norm = vit.embedding_norm
        *blocks, last = cast("list[EncoderBlock]", list(vit.blocks))
        lowered: list[nn.Module] = [LoweredBlock(block, vit.spec.tokens) for block in blocks]
        lowered_last, self.head = lower_last(last, vit.head)
        self.blocks = nn.ModuleList([*lowered, lowered_last])

    def forward(self, image: Tensor) -> Tensor:
        x = self.embedding_norm(self.embedding(image))
        for block in self.blocks:
            x = block(x)
        answer: Tensor = self.head(x)
        return answer


@torch.no_grad()
def lower(vit: Vit) -> LoweredVit:
    """The export-friendly module that answers as `vit` does in evaluation: it has no dropout.

    Shapes are those of `vit`, except that a mask can't be given. `vit` itself is not changed;
    layers that no rewrite touches are shared with it, and so is its mode.
    """
    return LoweredVit(vit).train(vit.training)
