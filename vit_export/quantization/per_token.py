"""Per-token scales for layers whose input has outlier tokens.

In front of a few layers of a trained ViT, a few tokens are a hundred times as large as the others:
the second layer of an MLP, the output projection of attention. One range for all tokens is too
coarse there. A scale per token costs time, so a layer gets it only if its statistics show a gain.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vit_export.quantization.observer import ActivationStats, LayerStats
from vit_export.quantization.schemes import SCHEMES

MIN_NOISE_RATIO = 10 ** (7 / 10)
"""Ratio of the noise of one range to that of a range per token, above which the latter is used.

7 dB is more than one bit, and few layers reach it."""
SMALLEST = 1e-5


@torch.no_grad()
def use_per_token_scales(
    layers: Mapping[str, nn.Linear], stats: LayerStats, schemes: Mapping[str, str]
) -> dict[str, str]:
    """The scheme of each layer: its per-token scheme if its input has outlier tokens."""
    return {n: _choose_scheme(layers[n], stats[n], scheme) for n, scheme in schemes.items()}


def _choose_scheme(layer: nn.Linear, stats: ActivationStats, scheme: str) -> str:
    per_token = SCHEMES[scheme].outlier_scheme
    if per_token is None:
        return scheme
    noise, finer_noise = (_measure_noise(layer, stats, name) for name in (scheme, per_token))
    return scheme if noise <= MIN_NOISE_RATIO * finer_noise else per_token


def _measure_noise(layer: nn.Linear, stats: ActivationStats, name: str) -> float:
    """The error power as a share of the output power, averaged over tokens."""
    scheme = SCHEMES[name]
    params = scheme.choose_params(stats)  # None at run time: each image has a range of its own
    error = torch.cat([scheme.fake_quantize_input(x, params) - x for x in stats.rows_by_image])
    power = _compute_output_power(stats.rows, layer).clamp(min=SMALLEST)
    return float((_compute_output_power(error, layer) / power).mean())


def _compute_output_power(rows: Tensor, layer: nn.Linear) -> Tensor:
    """The power of each row's output without its bias, (R,)."""
    return torch.square(rows @ layer.weight.T).sum(dim=1)
