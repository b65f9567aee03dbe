"""How a checkpoint's own code resamples positions, where its tensors look like those of timm.

DINO and iBOT (vision_transformer.py) add 0.1 patches before they scale, MAE (util/pos_embed.py)
does not; neither filters where the grid shrinks, as timm does.
"""

import re
from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from vit_export.core.errors import RequestError

if TYPE_CHECKING:  # torch is heavy, and a bad request is refused without it
    from vit_export.checkpoints.families.base import Config, Family
    from vit_export.model.model import Model
    from vit_export.model.vit.adapt import Resampling

DINO = r"(dino|ibot)_head\..*|head\.last_layer\..*|masked_embed"
MAE = r"decoder_.*"


def choose_resampling(family: "Family", config: "Config", unused: Collection[str]) -> "Resampling":
    """Return how the code that saved a checkpoint resamples positions.

    Args:
        family: the family of the checkpoint.
        config: content of its config.json, or what `--arch` stands for; empty without both.
        unused: names of the tensors that the model does not need, which show who trained it.
    """
    from vit_export.model.vit.adapt import Resampling

    if not family.is_shared or "architecture" in config:
        return family.resampling
    if any(re.fullmatch(DINO, name) for name in unused):
        return Resampling(antialias=False, offset=0.1)
    if any(re.fullmatch(MAE, name) for name in unused):
        return Resampling(antialias=False)
    return replace(family.resampling, is_known=False)


def check_resampling(model: "Model", grid: tuple[int, int]) -> None:
    """Raise RequestError unless it is known how positions get to another grid, if it is another."""
    spec = model.vit.spec
    if model.resampling is None or model.resampling.is_known or spec.grid == grid:
        return
    if spec.positions == "none":
        return
    message = (
        f"{model.name} has other positions at another --image-size, and its tensors do not show "
        "how: timm, DINO and MAE share the names, and resample positions in three ways."
    )
    fix = "give --arch timm:NAME if timm's is the right way, or leave --image-size out."
    raise RequestError(message, fix)
