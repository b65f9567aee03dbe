"""Layers in front of which one range for all tokens is too coarse: each token gets its own there.

A few tokens of a trained ViT are a hundred times as large as the others, in front of a few layers:
what an MLP contracts, values that attention gathered. Dividing each token by its own size costs
time, so that is done where it pays, which what the layer saw tells.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vit_export.quantization.observer import Observed
from vit_export.quantization.schemes import SCHEMES

WORTH = 10 ** (7 / 10)
"""How much more noise one range has to cost: 7 dB, more than a bit, which few layers reach."""
SMALLEST = 1e-5


@torch.no_grad()
def by_token(
    layers: Mapping[str, nn.Linear], seen: Mapping[str, Observed], schemes: Mapping[str, str]
) -> dict[str, str]:
    """`schemes`, but a range for each token in layers that have `seen` them differ very much."""
    return {name: _worthwhile(layers[name], seen[name], s) for name, s in schemes.items()}


def _worthwhile(layer: nn.Linear, seen: Observed, scheme: str) -> str:
    finer = SCHEMES[scheme].finer
    if finer is None or _noise(layer, seen, scheme) <= WORTH * _noise(layer, seen, finer):
        return scheme
    return finer


def _noise(layer: nn.Linear, seen: Observed, scheme: str) -> float:
    """The error's share of each token's output, a mean: norms make tokens alike again."""
    how = SCHEMES[scheme]
    told = how.range_of(seen)  # at run time each image has its own
    lost = torch.cat([how.restored_input(x, told) - x for x in seen.rows_by_image])
    return float((_power(lost, layer) / _power(seen.rows, layer).clamp(min=SMALLEST)).mean())


def _power(rows: Tensor, layer: nn.Linear) -> Tensor:
    """Of each row's output, (R,)."""
    return torch.square(rows @ layer.weight.T).sum(dim=1)
