"""Weights as integers: symmetric, with one scale per output channel or per block of inputs."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from vit_export.graph.saturation import PAIR_LIMIT, sum_pairs

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.int8]

SCALE_FACTORS = np.linspace(0.7, 1.1, 17, dtype=np.float32)
"""Candidate scales of a block, relative to the scale that just covers its largest weight."""


@dataclass(frozen=True, eq=False)
class QuantizedWeight:
    """A weight (N, K) as integers and scales."""

    integers: Bytes
    """(N, K)"""
    scales: Floats
    """(N, groups): each group of K / groups inputs shares one scale."""

    def dequantize(self) -> Floats:
        """The weight in floats, (N, K)."""
        return self.integers * expand_scales(self.scales, self.integers.shape[1])

    def take_rows(self, first: int, end: int) -> Self:
        """The weight of output channels `first` to `end`, (end - first, K)."""
        return type(self)(self.integers[first:end], self.scales[first:end])


def find_limits(bits: int) -> tuple[int, int]:
    """The smallest and the largest integer that weights of `bits` use.

    Eight bits exclude -128: the range of a channel is symmetric, so that it needs no zero point,
    and products cannot overflow in VNNI. Four bits use all sixteen integers.
    """
    largest = (1 << (bits - 1)) - 1
    return (-largest, largest) if bits == 8 else (-largest - 1, largest)  # noqa: PLR2004 bits


def choose_scales(weight: Floats, bits: int, block: int | None, *, pairs: bool = False) -> Floats:
    """One scale per channel of `weight` (N, K) or per block of its inputs, (N, groups).

    With `pairs`, a channel whose pairs would exceed `PAIR_LIMIT` has a larger scale.
    """
    if block is None:
        scales = np.abs(weight).max(axis=1, keepdims=True) / np.float32(find_limits(bits)[1])
        if pairs:
            largest = sum_pairs(weight).max(axis=1, keepdims=True)
            scales = np.maximum(scales, largest / np.float32(PAIR_LIMIT))
        return _replace_zeros(scales)
    return _choose_block_scales(weight.reshape(len(weight), -1, block), find_limits(bits))


def round_to_nearest(
    weight: Floats, bits: int, block: int | None, *, pairs: bool = False
) -> QuantizedWeight:
    """`weight` (N, K) with each number rounded to the nearest step of `bits`; `block` divides K.

    With `pairs`, all pairs keep `PAIR_LIMIT`.
    """
    scales = choose_scales(weight, bits, block, pairs=pairs)
    steps = np.round(weight / expand_scales(scales, weight.shape[1])).clip(*find_limits(bits))
    if pairs:
        excess = np.maximum(sum_pairs(steps) - PAIR_LIMIT, 0)  # at most one step, by rounding
        seconds = steps[:, 1::2]
        seconds -= np.copysign(excess[:, : seconds.shape[1]], seconds)
    return QuantizedWeight(steps.astype(np.int8), scales)


def expand_scales(scales: Floats, inputs: int) -> Floats:
    """The scale of each weight, (N, inputs)."""
    return np.repeat(scales, inputs // scales.shape[1], axis=1)


def _choose_block_scales(blocks: Floats, limits: tuple[int, int]) -> Floats:
    """Scales (N, groups) of blocks (N, groups, block).

    The largest weight of a block maps to the most negative integer, which has no positive
    counterpart: the scale is negative if that weight is positive. Among the candidate scales, some
    of which clip the largest weights, the one with the smallest squared error wins.
    """
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=2)[..., None], axis=2)[..., 0]
    widest = np.where(largest == 0, 1, largest / np.float32(limits[0])).astype(np.float32)
    smallest_error, best = np.full(widest.shape, np.inf, np.float32), widest
    for factor in SCALE_FACTORS:
        scales = widest * factor
        dequantized = np.round(blocks / scales[..., None]).clip(*limits) * scales[..., None]
        error = np.square(dequantized - blocks).sum(axis=2)
        best = np.where(error < smallest_error, scales, best)
        smallest_error = np.minimum(error, smallest_error)
    return best


def _replace_zeros(scales: Floats) -> Floats:
    """`scales` with 1 in place of 0, since lowering pads layers with zero channels."""
    return np.where(scales > 0, scales, np.float32(1)).astype(np.float32)
