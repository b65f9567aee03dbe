"""Relative position bias in the eager reference: BEiT's table (arXiv:2106.08254), as in Swin.

h is the number of heads, N the tokens, R and C the rows and columns of the grid.
"""

import torch
from torch import Tensor, nn

from vit_export.model.vit.spec import VitSpec

CLASS_TOKEN_ROWS = 3
"""Rows of the table for the class token: it to a patch, a patch to it, and it to itself."""


class RelativeBias(nn.Module):
    """A learned number for each head and each relative place of two tokens."""

    def __init__(self, spec: VitSpec) -> None:
        super().__init__()
        self.grid = spec.grid
        self.table = nn.Parameter(0.02 * torch.randn(count_places(spec.grid), spec.heads))

    def forward(self) -> Tensor:
        """Return what attention logits get, (h, N, N)."""
        return self.table[index_places(self.grid, self.table.device)].permute(2, 0, 1)


def count_places(grid: tuple[int, int]) -> int:
    """Return the rows of the table of a grid."""
    rows, columns = grid
    return (2 * rows - 1) * (2 * columns - 1) + CLASS_TOKEN_ROWS


def index_places(grid: tuple[int, int], device: torch.device | None = None) -> Tensor:
    """Return the row of the table for each pair of a query and a key, (N, N).

    The order is that of BEiT, timm and transformers.
    """
    rows, columns = grid
    axes = torch.arange(rows, device=device), torch.arange(columns, device=device)
    places = torch.cartesian_prod(*axes)  # (R·C, 2)
    steps = places[:, None] - places[None]  # (R·C, R·C, 2)
    down, right = steps[..., 0] + rows - 1, steps[..., 1] + columns - 1
    count, tokens = count_places(grid), rows * columns + 1
    index = torch.empty((tokens, tokens), dtype=torch.int64, device=device)
    index[1:, 1:] = down * (2 * columns - 1) + right
    index[0] = count - 3
    index[:, 0] = count - 2
    index[0, 0] = count - 1
    return index
