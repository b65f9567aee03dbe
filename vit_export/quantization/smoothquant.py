"""SmoothQuant with shifts: it makes channels similar in size and centres them around zero.

A trained ViT has channels after its LayerNorms that are ten times as large as the others, and
channels that are far from zero on every image. Both cost the other channels bits. Two changes that
are exact in algebra avoid that:

- Smoothing (SmoothQuant, arXiv:2211.10438): a factor moves from an input channel to the column of
  the weight that reads it. The strength is chosen by the error of each layer's own output.
- Shifting (Outlier Suppression+, arXiv:2304.09145): the mean of a channel moves into the bias.

Both fold into the layer that computes the input, so that they cost nothing at run time: the
LayerNorm before qkv and before the MLP, and the value projection before the output projection
(attention's weights sum to one, so it averages values channel by channel; these are shifted only).
Neither folds through an activation function.
"""

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from vit_export.model.layered import LayeredModule, NormReaders, ValueProjection
from vit_export.model.vit.lowering.rewrites import make_linear
from vit_export.quantization.layers import get_linear
from vit_export.quantization.observer import ActivationStats, LayerStats
from vit_export.quantization.schemes import SCHEMES, Scheme

STRENGTHS = (0.0, 0.4, 0.5, 0.6)
"""Candidate migration strengths (SmoothQuant's alpha); 0 leaves the channels as they are."""
SMALLEST = 1e-5


@torch.no_grad()
def smooth_channels(
    lowered: LayeredModule, stats: LayerStats, schemes: Mapping[str, str]
) -> dict[str, float]:
    """Smooth and shift the inputs of `lowered`'s layers, and return each layer's strength.

    Both `lowered` and its `stats` change in place, `stats` layer by layer: the rows of all layers
    are never in memory twice. Strengths exist for layers behind a LayerNorm. Tensors that are
    shared with the eager model are replaced, not changed.
    """
    strengths: dict[str, float] = {}
    for norm in lowered.roles.norms:
        if stats.keys() >= set(norm.readers):  # all of them are quantized
            strength = _smooth_norm(lowered, norm, stats, schemes)
            strengths |= dict.fromkeys(norm.readers, strength)
    for projection in lowered.roles.value_projections:
        if stats.keys() >= {projection.values, projection.projection}:
            _shift_values(lowered, projection, stats)
    return strengths


def _smooth_norm(
    lowered: LayeredModule, norm: NormReaders, stats: LayerStats, schemes: Mapping[str, str]
) -> float:
    """Smooth and shift one LayerNorm and its readers, in place, and return the strength."""
    readers = {name: get_linear(lowered, name) for name in norm.readers}
    # keys and values, not queries: these may read a few tokens only
    shift = max((stats[name] for name in norm.readers), key=lambda one: one.count).mean
    shifted_stats = {name: stats[name].transform(shift, torch.ones(())) for name in readers}
    strength, scale = _choose_strength(readers, shifted_stats, schemes)
    lowered.set_layer(norm.norm, _transform_norm(lowered, norm.norm, shift, scale))
    for name, layer in readers.items():
        lowered.set_layer(name, _transform_reader(layer, shift, scale))
        stats[name] = stats[name].transform(shift, scale)
    return strength


def _shift_values(lowered: LayeredModule, names: ValueProjection, stats: LayerStats) -> None:
    """Shift the values of one attention to a mean of zero, in place."""
    shift, one = stats[names.projection].mean, torch.ones(())
    values = get_linear(lowered, names.values)
    bias = _get_bias(values).clone()
    bias[-len(shift) :] -= shift
    lowered.set_layer(names.values, make_linear(values.weight, bias))
    projection = get_linear(lowered, names.projection)
    lowered.set_layer(names.projection, _transform_reader(projection, shift, one))
    for name in {names.projection, names.matmul_input} & set(stats):
        stats[name] = stats[name].transform(shift, one)


def _choose_strength(
    layers: Mapping[str, nn.Linear], stats: LayerStats, schemes: Mapping[str, str]
) -> tuple[float, Tensor]:
    """The strength with the smallest error of these layers' outputs, and its factors (K,)."""
    sizes = torch.stack([torch.maximum(-s.low, s.high) for s in stats.values()]).amax(dim=0)
    weights = torch.cat([layer.weight for layer in layers.values()]).abs().amax(dim=0)
    candidates = [(s, compute_factors(sizes, weights, s)) for s in STRENGTHS]

    def measure(scale: Tensor) -> float:
        return sum(_measure_error(layers[n], stats[n], scale, SCHEMES[schemes[n]]) for n in stats)

    return min(candidates, key=lambda candidate: measure(candidate[1]))


def compute_factors(sizes: Tensor, weights: Tensor, strength: float) -> Tensor:
    """The divisor of each input channel, (K,); their geometric mean is one.

    Args:
        sizes: largest magnitude of each input channel, (K,).
        weights: largest magnitude of each column of the weights, (K,).
        strength: migration strength, 0 to 1: the share of a channel's size that moves.
    """
    if strength == 0:
        return torch.ones_like(sizes)
    factors = sizes.clamp(min=SMALLEST) ** strength / weights.clamp(min=SMALLEST) ** (1 - strength)
    return factors / factors.log().mean().exp()


def _measure_error(
    layer: nn.Linear, stats: ActivationStats, scale: Tensor, scheme: Scheme
) -> float:
    """The error power as a share of the output power, averaged over tokens."""
    smooth = stats.transform(torch.zeros(()), scale)
    weight = scheme.fake_quantize_weight(layer.weight * scale)
    quantized = scheme.fake_quantize_input(smooth.rows, scheme.choose_params(smooth)) @ weight.T
    exact = stats.rows @ layer.weight.T
    error = torch.square(quantized - exact).sum(dim=1)
    return float((error / torch.square(exact).sum(dim=1).clamp(SMALLEST)).mean())


def _transform_norm(
    lowered: LayeredModule, name: str, shift: Tensor, scale: Tensor
) -> nn.LayerNorm:
    """The LayerNorm with an output of (x - shift) / scale."""
    norm = cast("nn.LayerNorm", lowered.get_layer(name))
    transformed = nn.LayerNorm(norm.normalized_shape, eps=norm.eps).eval()
    transformed.weight = nn.Parameter(norm.weight / scale, requires_grad=False)
    transformed.bias = nn.Parameter((norm.bias - shift) / scale, requires_grad=False)
    return transformed


def _transform_reader(layer: nn.Linear, shift: Tensor, scale: Tensor) -> nn.Linear:
    """The layer that computes from (x - shift) / scale what `layer` computes from x."""
    return make_linear(layer.weight * scale, _get_bias(layer) + layer.weight @ shift)


def _get_bias(layer: nn.Linear) -> Tensor:
    return torch.zeros(len(layer.weight)) if layer.bias is None else layer.bias
