"""Rotary positions in the eager reference: the angles of a grid, and the turn of queries and keys.

B is the batch, h the heads, N the tokens, P the patches and d the channels of a head.
"""

import math

import torch
from einops import rearrange
from torch import Tensor, nn

from vit_export.model.vit.rotary import Rotary
from vit_export.model.vit.spec import VitSpec

PAIRS = {"halves": "(pair c)", "interleaved": "(c pair)"}
"""Order of the channels of a head, by `Rotary.pairs`."""


class Rotation(nn.Module):
    """Turns the patches of queries or keys, (B, h, N, d) to (B, h, N, d)."""

    frequencies: Tensor | None

    def __init__(self, spec: VitSpec, rotary: Rotary) -> None:
        super().__init__()
        self.rotary, self.grid = rotary, spec.grid
        self.prefix_tokens, self.head_dim = spec.prefix_tokens, spec.head_dim
        self.pairs = PAIRS[rotary.pairs]
        shape = (2, spec.heads, spec.head_dim // 2)
        learned = nn.Parameter(torch.rand(shape)) if rotary.frequencies == "learned" else None
        self.register_parameter("frequencies", learned)

    def forward(self, x: Tensor) -> Tensor:
        angles = self.angles(x.device)
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        prefix, patches = x[:, :, : self.prefix_tokens], x[:, :, self.prefix_tokens :]
        first, second = rearrange(patches, f"b h n {self.pairs} -> pair b h n c", pair=2)
        turned = torch.stack([first * cos - second * sin, second * cos + first * sin])
        patches = rearrange(turned, f"pair b h n c -> b h n {self.pairs}")
        return torch.cat([prefix, patches], dim=2)

    def angles(self, device: torch.device | None = None) -> Tensor:
        """Return the angle of each pair of channels: (P, d/2), or (h, P, d/2) if learned.

        They are computed in fp32, as the libraries do, whatever the type of the weights is.
        """
        first, second = locate_patches(self.rotary, self.grid, device)  # (P,) each
        if self.frequencies is not None:
            of_first, of_second = self.frequencies.float()[:, :, None]  # (h, 1, d/2) each
            angles: Tensor = first[:, None] * of_first + second[:, None] * of_second
            return angles
        count = self.head_dim // 4
        exponents = torch.arange(count, dtype=torch.float32, device=device) / count
        frequencies = 1 / self.rotary.base**exponents  # (d/4,)
        return torch.cat([first[:, None] * frequencies, second[:, None] * frequencies], dim=-1)


def locate_patches(
    rotary: Rotary, grid: tuple[int, int], device: torch.device | None = None
) -> tuple[Tensor, Tensor]:
    """Return both coordinates of each patch of a grid, (P,) each, in the order of `rotary`."""
    axes = []
    for count, reference in zip(grid, rotary.reference_grid or (None, None), strict=True):
        numbers = torch.arange(count, dtype=torch.float32, device=device) + rotary.offset
        if rotary.coordinates == "centres":
            numbers = 2 * math.pi * (2 * ((numbers + 0.5) / count) - 1)
        elif reference is not None:
            numbers = numbers / count * reference
        axes.append(numbers)
    rows, columns = (axis.flatten() for axis in torch.meshgrid(*axes, indexing="ij"))
    return (rows, columns) if rotary.first == "rows" else (columns, rows)
