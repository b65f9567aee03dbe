"""A model adapted to another image size, or to another output, with the same weights.

Position embeddings are resampled in fp32, in the way of the family's own code
(`Resampling`). Positions of prefix tokens do not change. All other weights are shared.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from vit_export.core.errors import RequestError
from vit_export.model.vit.state import fill
from vit_export.model.vit.vit import Vit

POSITIONS = "embedding.positions"
SPEC_CHANGES: dict[str, dict[str, Any]] = {
    "features": {"classes": None},
    "tokens": {"classes": None, "projection": None, "pool": "none", "norm_after_pool": False},
}
"""Fields of the spec that change with the answer.

`tokens` keeps the norm over all tokens, if there is one; a norm behind the pool is removed with it.
"""


NO_RULE = ("drops_rim", "is_known")
"""Fields of `Resampling` that resampled positions do not depend on."""


@dataclass(frozen=True)
class Resampling:
    """How a family's own code resamples its positions to another grid."""

    mode: Literal["bicubic", "bilinear"] = "bicubic"
    antialias: bool = True
    """Whether the filter widens where the grid shrinks, as in timm."""
    offset: float = 0.0
    """Patches added to each side when the scale is computed (0.1 in the original DINOv2)."""
    align_corners: bool = False
    """Whether the centres of the corner patches stay in place, instead of the image's corners."""
    drops_rim: bool = False
    """Whether the family's own code takes sizes that the patches do not divide.

    It then leaves out the pixels at the right and at the bottom that fill no whole patch.
    """

    is_known: bool = True
    """Whether it is certain that the checkpoint's own code does so."""

    def to_mapping(self) -> dict[str, Any]:
        """Return the fields that resampled positions depend on, for a manifest.

        The mode is left out where it is bicubic, so that earlier versions read it.
        """
        values = {name: value for name, value in asdict(self).items() if name not in NO_RULE}
        if self.mode == "bicubic":
            del values["mode"]
        return values


TIMM_RESAMPLING = Resampling(drops_rim=True)


def resize_positions(vit: Vit, size: tuple[int, int], resampling: Resampling | None = None) -> Vit:
    """Return `vit` for images of `size` (height, width), with its positions resampled.

    All other weights are shared with `vit`. Without `resampling`, timm's way applies. Rotary
    positions follow from the grid.

    Raises:
        RequestError: `size` is smaller than a patch, or relative positions do not fit it.
    """
    if vit.spec.relative_bias and replace(vit.spec, image_size=size).grid != vit.spec.grid:
        height, width = vit.spec.covered_size
        message = f"its relative positions are those of {height}x{width} images."
        raise RequestError(message, "leave --image-size out.")
    spec, end = replace(vit.spec, image_size=size), vit.spec.positioned_prefix
    state = vit.state_dict()
    if POSITIONS not in state:
        return fill(spec, state, "the model of another size")
    prefix, patches = state[POSITIONS][:end], state[POSITIONS][end:]
    patches = _resample(patches, vit.spec.grid, spec.grid, resampling or TIMM_RESAMPLING)
    return fill(spec, {**state, POSITIONS: torch.cat([prefix, patches])}, "the resampled model")


def _resample(
    patches: Tensor, old: tuple[int, int], new: tuple[int, int], resampling: Resampling
) -> Tensor:
    """Return positions (h w, D) of the grid `old` for the grid `new`."""
    grid = patches.unflatten(0, old).permute(2, 0, 1)[None]  # (1, D, h, w)
    target: dict[str, Any] = {"size": new}
    if resampling.offset:
        scales = [(n + resampling.offset) / o for n, o in zip(new, old, strict=True)]
        target = {"scale_factor": tuple(scales)}
    options = {"antialias": resampling.antialias, "align_corners": resampling.align_corners}
    grid = functional.interpolate(grid, **target, **options, mode=resampling.mode)
    return grid[0].permute(1, 2, 0).flatten(0, 1)  # (h w, D)


def change_outputs(vit: Vit, outputs: Sequence[str]) -> Vit:
    """Return `vit` with other outputs, by their names. The remaining weights are shared.

    The parts of the model that no output needs are left out. A single output that is a model's
    whole answer (logits, features or tokens) is that model's answer, without a name of its own.

    Raises:
        RequestError: the model cannot have one of these outputs.
    """
    if tuple(outputs) == (vit.spec.answer,) and not vit.spec.outputs:
        return vit
    spec = replace(vit.spec, outputs=tuple(outputs))
    rest = next((one for one in ("logits", "features") if one in outputs), "tokens")
    if vit.spec.pool != "none":
        spec = replace(spec, **SPEC_CHANGES.get(rest, {}))
    if len(outputs) == 1 and rest == outputs[0]:
        spec = replace(spec, outputs=())
    with torch.device("meta"):
        names = Vit(spec).state_dict().keys()
    state = {name: tensor for name, tensor in vit.state_dict().items() if name in names}
    return fill(spec, state, f"the model without its {vit.spec.answer}")
