"""Weights in fewer bits: symmetric, a scale for each output channel or each block of inputs."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.int8]

SHRUNK = np.linspace(0.7, 1.1, 17, dtype=np.float32)
"""Shares of the scale that just holds a block's largest weight."""


@dataclass(frozen=True, eq=False)
class Rounded:
    """A weight (N, K) in whole numbers, which scales make floats again."""

    integers: Bytes
    """(N, K)"""
    scales: Floats
    """(N, groups): groups of K / groups inputs share a scale; one group is the whole channel."""

    def restored(self) -> Floats:
        """The weight as these numbers say it, (N, K)."""
        return self.integers * spread(self.scales, self.integers.shape[1])


def limits_of(bits: int) -> tuple[int, int]:
    """The least and the greatest whole number of `bits`.

    Of eight -128 is not used: with one scale for a channel the range is symmetric, so that it needs
    no zero point, and VNNI can't overflow on it. Of four every number counts.
    """
    greatest = (1 << (bits - 1)) - 1
    return (-greatest, greatest) if bits == 8 else (-greatest - 1, greatest)  # noqa: PLR2004 bits


def scales_of(weight: Floats, bits: int, block: int | None) -> Floats:
    """A scale for each channel of `weight` (N, K), or for each block of its inputs, (N, groups)."""
    if block is None:
        return _nonzero(np.abs(weight).max(axis=1, keepdims=True) / np.float32(limits_of(bits)[1]))
    return _scales_of_blocks(weight.reshape(len(weight), -1, block), limits_of(bits))


def round_plainly(weight: Floats, bits: int, block: int | None) -> Rounded:
    """Each number of `weight` (N, K) to the nearest; K has to be a multiple of `block`."""
    scales = scales_of(weight, bits, block)
    steps = np.round(weight / spread(scales, weight.shape[1])).clip(*limits_of(bits))
    return Rounded(steps.astype(np.int8), scales)


def spread(scales: Floats, inputs: int) -> Floats:
    """The scale of every single number, (N, inputs)."""
    return np.repeat(scales, inputs // scales.shape[1], axis=1)


def _scales_of_blocks(blocks: Floats, limits: tuple[int, int]) -> Floats:
    """Scales of blocks (N, groups, block).

    A block's largest weight becomes the most negative integer, which has no positive twin: the
    scale is negative where that weight is positive. Of a few scales that clip the largest weights
    the one with the least squared error is taken.
    """
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=2)[..., None], axis=2)[..., 0]
    widest = np.where(largest == 0, 1, largest / np.float32(limits[0])).astype(np.float32)
    best, found = np.full(widest.shape, np.inf, np.float32), widest
    for share in SHRUNK:
        scales = widest * share
        restored = np.round(blocks / scales[..., None]).clip(*limits) * scales[..., None]
        error = np.square(restored - blocks).sum(axis=2)
        found, best = np.where(error < best, scales, found), np.minimum(error, best)
    return found


def _nonzero(scales: Floats) -> Floats:
    """A scale of one where all weights are zero: lowering pads with such channels."""
    return np.where(scales > 0, scales, np.float32(1)).astype(np.float32)
