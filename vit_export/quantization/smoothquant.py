"""Channels of like size around zero, in front of layers that are quantized: exact in algebra.

A trained ViT has channels after its LayerNorms that are ten times as large as the others, and
channels that are far from zero on every image. Both take bits from all others.

- Smoothing (SmoothQuant, arXiv:2211.10438): a factor goes from a channel of the input to the column
  of the weight that reads it. How much of it goes is tried on each layer's own error.
- Shifting (Outlier Suppression+, arXiv:2304.09145): the mean of a channel goes into the bias.

Both fold into what makes the input, so that a runtime has nothing more to do: the LayerNorm before
qkv and before the MLP, the value projection before the output projection (attention's weights sum
to one, so that it takes means of values channel by channel; their sizes stay). Nothing folds
through an activation.
"""

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from vit_export.model.vit.lowering import LoweredVit
from vit_export.model.vit.lowering.rewrites import linear_of
from vit_export.quantization.layers import norms_of, values_of
from vit_export.quantization.observer import Observed
from vit_export.quantization.schemes import SCHEMES, Scheme

STRENGTHS = (0.0, 0.4, 0.5, 0.6)
"""How much of a channel's size moves into the weights; zero leaves it where it is."""
SMALLEST = 1e-5

Seen = dict[str, Observed]


@torch.no_grad()
def equalize(
    lowered: LoweredVit, seen: Seen, schemes: Mapping[str, str]
) -> tuple[Seen, Mapping[str, float]]:
    """Moves means and sizes of channels, in place; what layers see then, and strengths.

    `seen` is of the module before, and is brought up to date layer by layer: nobody holds the rows
    of all layers twice. Strengths are of the layers behind a LayerNorm. Tensors that the eager
    model shares are replaced, not changed.
    """
    strengths = {}
    for norm_fed in norms_of(lowered):
        readers = {name: _linear(lowered, name) for name in norm_fed.readers}
        shift = seen[norm_fed.readers[-1]].mean  # of query and key_value: the one that sees all
        centred = {name: seen[name].moved(shift, torch.ones(())) for name in readers}
        strength, scale = _strongest(readers, centred, schemes)
        lowered.set_submodule(norm_fed.norm, _moved_norm(lowered, norm_fed.norm, shift, scale))
        for name, layer in readers.items():
            lowered.set_submodule(name, _moved_reader(layer, shift, scale))
            seen[name], strengths[name] = seen[name].moved(shift, scale), strength
    for fed in values_of(lowered):
        shift = seen[fed.reader].mean
        lowered.set_submodule(fed.values, _moved_values(_linear(lowered, fed.values), shift))
        reader = _moved_reader(_linear(lowered, fed.reader), shift, torch.ones(()))
        lowered.set_submodule(fed.reader, reader)
        for name in {fed.reader, fed.mixed} & set(seen):
            seen[name] = seen[name].moved(shift, torch.ones(()))
    return seen, strengths


def _strongest(
    layers: Mapping[str, nn.Linear], seen: Seen, schemes: Mapping[str, str]
) -> tuple[float, Tensor]:
    """The strength with the least error of these layers' outputs on what they saw, its factors."""
    sizes = torch.stack([torch.maximum(-s.low, s.high) for s in seen.values()]).amax(dim=0)
    weights = torch.cat([layer.weight for layer in layers.values()]).abs().amax(dim=0)
    tried = [(s, factors(sizes, weights, s)) for s in STRENGTHS]

    def error(scale: Tensor) -> float:
        return sum(_error(layers[n], seen[n], scale, SCHEMES[schemes[n]]) for n in seen)

    return min(tried, key=lambda one: error(one[1]))


def factors(sizes: Tensor, weights: Tensor, strength: float) -> Tensor:
    """What each input channel is divided by, (K,); their geometric mean is one."""
    if strength == 0:
        return torch.ones_like(sizes)
    raw = sizes.clamp(min=SMALLEST) ** strength / weights.clamp(min=SMALLEST) ** (1 - strength)
    return raw / raw.log().mean().exp()


def _error(layer: nn.Linear, seen: Observed, scale: Tensor, scheme: Scheme) -> float:
    """The mean over tokens of the error's share of their output: norms make tokens alike again."""
    moved = seen.moved(torch.zeros(()), scale)
    weight = scheme.restored_weight(layer.weight * scale)
    found = scheme.restored_input(moved.rows, scheme.range_of(moved)) @ weight.T
    exact = seen.rows @ layer.weight.T
    lost = torch.square(found - exact).sum(dim=1) / torch.square(exact).sum(dim=1).clamp(SMALLEST)
    return float(lost.mean())


def _moved_norm(lowered: LoweredVit, name: str, shift: Tensor, scale: Tensor) -> nn.LayerNorm:
    """The LayerNorm, answering (x - shift) / scale."""
    norm = cast("nn.LayerNorm", lowered.get_submodule(name))
    made = nn.LayerNorm(norm.normalized_shape, eps=norm.eps)
    made.weight = nn.Parameter(norm.weight / scale, requires_grad=False)
    made.bias = nn.Parameter((norm.bias - shift) / scale, requires_grad=False)
    return made


def _moved_values(layer: nn.Linear, shift: Tensor) -> nn.Linear:
    """The layer whose last rows are the values, with means of zero."""
    bias = _bias(layer).clone()
    bias[-len(shift) :] -= shift
    return linear_of(layer.weight, bias)


def _moved_reader(layer: nn.Linear, shift: Tensor, scale: Tensor) -> nn.Linear:
    """The layer that answers to (x - shift) / scale as the old one did to x."""
    return linear_of(layer.weight * scale, _bias(layer) + layer.weight @ shift)


def _linear(lowered: LoweredVit, name: str) -> nn.Linear:
    return cast("nn.Linear", lowered.get_submodule(name))


def _bias(layer: nn.Linear) -> Tensor:
    return torch.zeros(len(layer.weight)) if layer.bias is None else layer.bias
