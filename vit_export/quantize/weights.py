"""Weights in fewer bits: symmetric, a scale for each output channel or each block of inputs."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.int8]

INT8_LARGEST = 127
"""-128 is not used: a symmetric range needs no zero point, and VNNI can't overflow on it."""
SHRUNK = np.linspace(0.7, 1.1, 17, dtype=np.float32)
"""Shares of the scale that just holds a block's largest weight."""


def quantize_channels(weight: Floats) -> tuple[Bytes, Floats]:
    """Eight bits of `weight` (N, K) and a scale for each output channel (N,)."""
    scale = _nonzero(np.abs(weight).max(axis=1) / np.float32(INT8_LARGEST))
    return np.round(weight / scale[:, None]).astype(np.int8), scale


def quantize_blocks(weight: Floats, bits: int, block: int) -> tuple[Bytes, Floats]:
    """`bits` of `weight` (N, K), and a scale for each block of inputs, (N, K / block).

    K has to be a multiple of `block`. A block's largest weight becomes the most negative integer,
    which has no positive twin: the scale is negative where that weight is positive. Of a few scales
    that clip the largest weights the one with the least squared error is taken.
    """
    blocks = weight.reshape(len(weight), -1, block)
    least = np.float32(-(1 << (bits - 1)))
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=2)[..., None], axis=2)[..., 0]
    widest = np.where(largest == 0, 1, largest / least).astype(np.float32)
    best, found = np.full(widest.shape, np.inf, np.float32), widest
    for share in SHRUNK:
        scale = widest * share
        error = np.square(_rounded(blocks, scale, least) * scale[..., None] - blocks).sum(axis=2)
        found, best = np.where(error < best, scale, found), np.minimum(error, best)
    return _rounded(blocks, found, least).astype(np.int8).reshape(weight.shape), found


def restored_channels(weight: Floats) -> Floats:
    """`weight` (N, K) as its eight bits say it."""
    quantized, scale = quantize_channels(weight)
    return quantized * scale[:, None]


def restored_blocks(weight: Floats, bits: int, block: int) -> Floats:
    """`weight` (N, K) as its blocks say it."""
    quantized, scale = quantize_blocks(weight, bits, block)
    return (quantized.reshape(*scale.shape, block) * scale[..., None]).reshape(weight.shape)


def _rounded(blocks: Floats, scale: Floats, least: np.float32) -> Floats:
    rounded: Floats = np.round(blocks / scale[..., None]).clip(least, -least - 1)
    return rounded


def _nonzero(scale: Floats) -> Floats:
    """A scale of one where all weights are zero: lowering pads with such channels."""
    return np.where(scale > 0, scale, np.float32(1)).astype(np.float32)
