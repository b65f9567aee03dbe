"""A trained model at another resolution: its positions resampled, all else as it is.

Bicubic and antialiased in fp32, as timm's `resample_abs_pos_embed` does it; positions of prefix
tokens are untouched.
"""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from vit_export.spec import VitSpec
from vit_export.vit.eager import Vit
from vit_export.vit.families.base import StateDict
from vit_export.vit.weights import fill

POSITIONS = "embedding.positions"


def resized(vit: Vit, size: tuple[int, int]) -> Vit:
    """`vit` for images of `size`; weights but the positions are shared with it."""
    spec = replace(vit.spec, image_size=size)
    return fill(spec, fitted(vit.state_dict(), vit.spec, spec), "the resampled model")


def fitted(tensors: StateDict, trained: VitSpec, wanted: VitSpec) -> dict[str, Tensor]:
    """`tensors`, under our names, with positions for the grid of `wanted` instead of `trained`."""
    covered = trained.positioned_prefix
    positions = tensors[POSITIONS].float()
    patches = _resample(positions[covered:], trained.grid, wanted.grid)
    return {**tensors, POSITIONS: torch.cat([positions[:covered], patches])}


def _resample(patches: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Positions (h w, D) of the grid `old` for the grid `new`."""
    grid = patches.unflatten(0, old).permute(2, 0, 1)[None]  # (1, D, h, w)
    grid = functional.interpolate(grid, size=new, mode="bicubic", antialias=True)
    return grid[0].permute(1, 2, 0).flatten(0, 1)
