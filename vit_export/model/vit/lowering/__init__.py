"""The same ViT for exporters: no einops, no shape arithmetic in Python, one canonical form.

`block.py` lowers a block. `last_block.py` lowers the last block and the head, and leaves out what
the output does not need. `rewrites.py` holds the functions over weights. Layers that are
export-friendly already (patch convolution, norms) are shared with the eager model, not copied. B is
the batch, N the tokens, D the width.
"""

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from vit_export.model.layered import LayeredModule, LayerRoles
from vit_export.model.vit.lowering.last_block import lower_last
from vit_export.model.vit.lowering.outputs import (
    MappedBlock,
    lower_block,
    lower_last_of_several,
)
from vit_export.model.vit.lowering.rewrites import fold_prefix_positions, make_linear
from vit_export.model.vit.lowering.roles import find_roles
from vit_export.model.vit.lowering.rotation import share_tables
from vit_export.model.vit.outputs import VitOutput
from vit_export.model.vit.vit import PatchEmbedding, Vit

if TYPE_CHECKING:
    from vit_export.model.vit.block import EncoderBlock


class LoweredEmbedding(nn.Module):
    """Images (B, C, H, W) to tokens (B·N, D)."""

    prefix: Tensor | None
    positions: Tensor | None

    def __init__(self, embedding: PatchEmbedding) -> None:
        super().__init__()
        self.projection: nn.Module = embedding.projection
        self.width = embedding.spec.width
        prefix, positions = fold_prefix_positions(embedding)
        self.register_buffer("prefix", None if prefix is None else prefix[None])  # (1, P, D)
        self.register_buffer(
            "positions", None if positions is None else positions[None].clone()
        )  # (1, patches, D)

    def forward(self, image: Tensor) -> Tensor:
        x = self.project_patches(image)
        if self.positions is not None:
            x = x + self.positions
        if self.prefix is not None:
            # The one place that must know the batch size: each image gets the same constant.
            x = torch.cat([self.prefix.expand(image.shape[0], -1, -1), x], dim=1)  # (B, N, D)
        return x.reshape(-1, self.width)

    def project_patches(self, image: Tensor) -> Tensor:
        """Return the projected patches, (B, patches, D)."""
        projected: Tensor = self.projection(image)
        return projected.flatten(2).transpose(1, 2)


class UnfoldedEmbedding(LoweredEmbedding):
    """The same embedding with a matrix product in place of the convolution.

    Both are equal, because the patches are disjoint. ONNX Runtime's CPU provider has integer matrix
    products, but no ConvInteger (microsoft/onnxruntime#15888).
    """

    def __init__(self, embedding: PatchEmbedding) -> None:
        super().__init__(embedding)
        convolution = embedding.projection
        self.projection = make_linear(convolution.weight.flatten(1), convolution.bias)
        (rows, columns), size = embedding.spec.grid, embedding.spec.patch_size
        self.covered = embedding.spec.covered_size
        self.has_rim = self.covered != embedding.spec.image_size
        self.cut = (-1, embedding.spec.channels, rows, size, columns, size)

    def project_patches(self, image: Tensor) -> Tensor:
        """Return the projected patches, (B, patches, D)."""
        if self.has_rim:
            image = image[:, :, : self.covered[0], : self.covered[1]]
        pixels = image.reshape(self.cut).permute(0, 2, 4, 1, 3, 5)  # (B, rows, columns, C, h, w)
        projected: Tensor = self.projection(pixels.flatten(3).flatten(0, 2))
        return projected.reshape(-1, self.cut[2] * self.cut[4], self.width)


class LoweredVit(LayeredModule):
    """Images (B, C, H, W) to the answer, in operators that exporters map one to one."""

    def __init__(self, vit: Vit, *, unfold: bool) -> None:
        super().__init__()
        embedding = UnfoldedEmbedding if unfold else LoweredEmbedding
        self.embedding = embedding(vit.embedding)
        self.embedding_norm = vit.embedding_norm
        *blocks, last = cast("list[EncoderBlock]", list(vit.blocks))
        lowered = [lower_block(block, vit.spec, number) for number, block in enumerate(blocks, 1)]
        lowers = lower_last_of_several if vit.spec.outputs else lower_last
        lowered_last, self.head = lowers(last, vit.head)
        self.blocks = nn.ModuleList([*lowered, lowered_last])
        self.outputs = vit.spec.outputs
        # behind the blocks: the last name of a shared tensor is the one that it has in a graph
        self.rotation = share_tables(self.blocks)

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, ...]:
        x = self.embedding_norm(self.embedding(image))
        if self.outputs:
            outputs: tuple[Tensor, ...] = self.head(*self._run_blocks(x))
            return outputs if len(outputs) > 1 else outputs[0]
        for block in self.blocks:
            x = block(x)
        answer: Tensor = self.head(x)
        return answer

    def _run_blocks(self, x: Tensor) -> tuple[Tensor, dict[VitOutput, Tensor]]:
        """Return what the last block answers, and what all blocks answer."""
        values: dict[VitOutput, Tensor] = {}
        for number, block in enumerate(self.blocks, 1):
            if isinstance(block, MappedBlock):
                x, values[VitOutput("attention", number)] = block(x)
            else:
                x = block(x)
            values[VitOutput("layer", number)] = x
        return x, values

    @property
    def roles(self) -> LayerRoles:
        """What each layer is for."""
        return find_roles(self, len(self.blocks))


@torch.no_grad()
def lower(vit: Vit, *, unfold: bool = False) -> LoweredVit:
    """Return the export-friendly module that computes the answers of `vit` in evaluation.

    It has the input and output shapes of `vit`, and neither a mask nor dropout. With `unfold`, the
    patches are projected by a linear layer, which can be quantized. `vit` does not change. Layers
    that need no rewrite are shared with it, and its training mode is copied.
    """
    return LoweredVit(vit, unfold=unfold).train(vit.training)
