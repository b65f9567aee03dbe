"""Weights in fewer bits: symmetric, a scale for each output channel or each block of inputs."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.int8]

INT8_LARGEST = 127
"""-128 is not used: a symmetric range needs no zero point, and VNNI can't overflow on it."""
INT4_LARGEST = 7
SHRUNK = np.linspace(0.7, 1.0, 16, dtype=np.float32)
"""Shares of the largest weight that a block of four bits may end at."""


def quantize_channels(weight: Floats) -> tuple[Bytes, Floats]:
    """Eight bits of `weight` (N, K) and a scale for each output channel (N,)."""
    scale = _nonzero(np.abs(weight).max(axis=1) / np.float32(INT8_LARGEST))
    return np.round(weight / scale[:, None]).astype(np.int8), scale


def quantize_blocks(weight: Floats, bits: int, block: int) -> tuple[Bytes, Floats]:
    """`bits` of `weight` (N, K), and a scale for each block of inputs, (N, K / block).

    K has to be a multiple of `block`. Of four bits the scale with the least squared error is taken
    from a few that clip the largest weights; of eight, clipping gains nothing.
    """
    blocks = weight.reshape(len(weight), -1, block)
    largest = np.float32(INT8_LARGEST if bits == 8 else INT4_LARGEST)  # noqa: PLR2004 a byte
    widest = _nonzero(np.abs(blocks).max(axis=2) / largest)
    best, found = np.full(widest.shape, np.inf, np.float32), widest
    for share in SHRUNK if bits < 8 else SHRUNK[-1:]:  # noqa: PLR2004 a byte
        scale = widest * share
        error = np.square(_rounded(blocks, scale, largest) * scale[..., None] - blocks).sum(axis=2)
        found, best = np.where(error < best, scale, found), np.minimum(error, best)
    return _rounded(blocks, found, largest).astype(np.int8).reshape(weight.shape), found


def restored_channels(weight: Floats) -> Floats:
    """`weight` (N, K) as its eight bits say it."""
    quantized, scale = quantize_channels(weight)
    return quantized * scale[:, None]


def restored_blocks(weight: Floats, bits: int, block: int) -> Floats:
    """`weight` (N, K) as its blocks say it."""
    quantized, scale = quantize_blocks(weight, bits, block)
    return (quantized.reshape(*scale.shape, block) * scale[..., None]).reshape(weight.shape)


def _rounded(blocks: Floats, scale: Floats, largest: np.float32) -> Floats:
    rounded: Floats = np.round(blocks / scale[..., None]).clip(-largest, largest)
    return rounded


def _nonzero(scale: Floats) -> Floats:
    """A scale of one where all weights are zero: lowering pads with such channels."""
    return np.where(scale > 0, scale, np.float32(1)).astype(np.float32)
