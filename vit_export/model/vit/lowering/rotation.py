"""Rotary positions for exporters: five nodes for the queries and keys of a block together.

The tables of cosines and sines are constants, with rows for the prefix tokens that turn nothing, so
that no token is cut off and put back. B is the batch, N the tokens, h the heads and d the channels
of a head; each head's pairs are its halves (`rewrites.halve_pairs`).
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from vit_export.model.vit.rotation import Rotation


class RotationTables(nn.Module):
    """Cosines and signed sines of every token.

    Args:
        rotation: the eager rotation.
        copies: how many times the model's heads stand side by side: 2 for queries and keys.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, rotation: Rotation, copies: int) -> None:
        super().__init__()
        angles = rotation.angles()  # (P, d/2) or (h, P, d/2)
        self.is_learned = rotation.frequencies is not None
        angles = angles.transpose(0, 1).repeat(1, copies, 1) if self.is_learned else angles[:, None]
        cos, sin = angles.cos(), angles.sin()  # (P, 1 or copies·h, d/2)
        resting = cos.new_zeros(rotation.prefix_tokens, *cos.shape[1:])
        self.register_buffer("cos", torch.cat([resting + 1, cos]).repeat(1, 1, 2))  # (N, …, d)
        turning = torch.cat([-sin, sin], dim=-1)
        self.register_buffer("sin", torch.cat([resting.repeat(1, 1, 2), turning]))

    def turn(self, x: Tensor) -> Tensor:
        """Return heads side by side turned, (B, N, h, d) to (B, N, h, d).

        It is no `forward`, so that its nodes are named after the attention that calls it.
        """
        first, second = x.chunk(2, dim=-1)
        return x * self.cos + torch.cat([second, first], dim=-1) * self.sin


def lower_rotation(rotation: nn.Module, copies: int) -> RotationTables | None:
    """Return the tables of a rotation; None for the Identity of a model without one."""
    return RotationTables(rotation, copies) if isinstance(rotation, Rotation) else None


def share_tables(blocks: Iterable[nn.Module]) -> RotationTables | None:
    """Let all lowered blocks read the tables of the first one, and return them.

    Learned tables are left as they are: each block has its own. None comes back for them, and for
    a model without rotation.
    """
    attentions: list[Any] = [block.attention for block in blocks]
    shared: RotationTables | None = attentions[0].tables
    if shared is None or shared.is_learned:
        return None
    for attention in attentions:
        attention.tables = shared
    return shared
