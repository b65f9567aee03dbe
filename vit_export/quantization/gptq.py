"""GPTQ: rounding that compensates for its own errors.

The weights of a channel are rounded one after the other. After each step, the weights that are not
rounded yet change so that the layer's output on calibration inputs changes least (Frantar et al.,
arXiv:2210.17323, algorithm 1, which begins here with the inputs of the largest power).
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from vit_export.graph.saturation import PAIR_LIMIT
from vit_export.quantization.weights import (
    QuantizedWeight,
    choose_scales,
    expand_scales,
    find_limits,
)

DAMPING = 0.1
"""Damping of the Hessian, as a share of the mean power of an input.

On a trained DINOv2 ViT-S with 512 to 2,048 rows, 0.01 overfitted the calibration images."""
COLUMNS = 64
"""Number of inputs that are rounded before one matrix product updates all later ones."""
SMALLEST = 1e-12


@torch.no_grad()
def round_with_gptq(
    weight: Tensor, inputs: Tensor, bits: int, block: int | None, *, pairs: bool = False
) -> QuantizedWeight:
    """The weight of a linear layer, rounded so that its output on `inputs` changes least.

    Scales are those of `round_to_nearest`.

    Args:
        weight: (N, K).
        inputs: calibration inputs (R, K), whose channels have a mean of zero.
        bits: bits of an integer.
        block: number of inputs that share a scale, which divides K; None: one scale per channel.
        pairs: whether all pairs of weights keep `PAIR_LIMIT`.
    """
    scales = choose_scales(weight.numpy(), bits, block, pairs=pairs)
    steps = torch.from_numpy(expand_scales(scales, weight.shape[1]))
    order = torch.square(inputs).sum(dim=0).argsort(descending=True)
    feedback = _factor_inverse_hessian(inputs[:, order])
    numbers, limits = weight[:, order] / steps[:, order], find_limits(bits)
    earlier = _find_earlier_partners(order) if pairs else {}
    rounded = _round_columns(numbers, steps[:, order], feedback, limits, earlier)
    integers = rounded[:, order.argsort()].numpy().astype(np.int8)
    return QuantizedWeight(integers, scales)


def _factor_inverse_hessian(inputs: Tensor) -> Tensor:
    """The upper triangle U, (K, K), with UᵀU the inverse Hessian of a layer's squared error.

    The Cholesky factor of the Hessian with its rows and columns in reverse order is the inverse of
    U: half the work of inverting first, and stable in fp32.
    """
    hessian = inputs.T @ inputs
    damping = max(DAMPING * float(hessian.diagonal().mean()), SMALLEST)
    hessian.diagonal().add_(damping)
    factor = torch.linalg.cholesky(hessian.flip(0, 1)).flip(0, 1)
    triangle: Tensor = torch.linalg.solve_triangular(factor, torch.eye(len(factor)), upper=True)
    return triangle


def _find_earlier_partners(order: Tensor) -> dict[int, int]:
    """By place in `order`, the place of the other input of the same pair, if it comes first.

    Inputs 2i and 2i + 1 are a pair.
    """
    places = {channel: place for place, channel in enumerate(order.tolist())}
    partners = {place: places.get(channel ^ 1, place) for channel, place in places.items()}
    return {place: partner for place, partner in partners.items() if partner < place}


def _round_columns(
    numbers: Tensor,
    steps: Tensor,
    feedback: Tensor,
    limits: tuple[int, int],
    earlier_partners: Mapping[int, int],
) -> Tensor:
    """Integers (N, K) for `numbers`, which are weights in units of `steps`.

    The loop runs over inputs, so inputs become rows: 2 to 4 times as fast as columns. An input with
    an earlier partner keeps `PAIR_LIMIT` with it.
    """
    numbers, steps = numbers.T.contiguous(), steps.T.contiguous()  # (K, N)
    rounded = torch.empty_like(numbers)
    for start in range(0, len(numbers), COLUMNS):
        end = min(start + COLUMNS, len(numbers))
        errors = torch.empty(end - start, numbers.shape[1])
        for k in range(start, end):
            rounded[k] = numbers[k].round().clamp(*limits)
            if k in earlier_partners:
                partner = rounded[earlier_partners[k]]
                low, high = -PAIR_LIMIT - partner.clamp(max=0), PAIR_LIMIT - partner.clamp(min=0)
                rounded[k] = rounded[k].clamp(low, high)
            errors[k - start] = (numbers[k] - rounded[k]) * steps[k] / feedback[k, k]
            numbers[k:end] -= torch.outer(feedback[k, k:end], errors[k - start]) / steps[k:end]
        numbers[end:] -= feedback[start:end, end:].T @ errors / steps[end:]
    return rounded.T  # (N, K)
