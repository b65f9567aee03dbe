"""A trained model at another resolution: its positions resampled, all else as it is.

Bicubic in fp32, and beyond that as the family's own code does it (`Resampling`); positions of
prefix tokens are untouched.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from vit_export.checkpoints.families.base import Resampling
from vit_export.model.vit.state import fill
from vit_export.model.vit.vit import Vit

POSITIONS = "embedding.positions"


def resized(vit: Vit, size: tuple[int, int], resampling: Resampling | None = None) -> Vit:
    """`vit` for images of `size`; weights but the positions are shared with it."""
    spec, covered = replace(vit.spec, image_size=size), vit.spec.positioned_prefix
    state = vit.state_dict()
    prefix, patches = state[POSITIONS][:covered], state[POSITIONS][covered:]
    moved = _resample(patches, vit.spec.grid, spec.grid, resampling or Resampling())
    return fill(spec, {**state, POSITIONS: torch.cat([prefix, moved])}, "the resampled model")


def _resample(
    patches: Tensor, old: tuple[int, int], new: tuple[int, int], resampling: Resampling
) -> Tensor:
    """Positions (h w, D) of the grid `old` for the grid `new`."""
    grid = patches.unflatten(0, old).permute(2, 0, 1)[None]  # (1, D, h, w)
    wanted: dict[str, Any] = {"size": new}
    if resampling.offset:
        shifted = [(n + resampling.offset) / o for n, o in zip(new, old, strict=True)]
        wanted = {"scale_factor": tuple(shifted)}
    how = {"antialias": resampling.antialias, "align_corners": resampling.align_corners}
    grid = functional.interpolate(grid, **wanted, **how, mode="bicubic")
    return grid[0].permute(1, 2, 0).flatten(0, 1)
