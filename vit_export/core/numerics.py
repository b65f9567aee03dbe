"""Arrays of answers, and computations on them that several folders share. NumPy only, no I/O."""

import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]


def snr_db(reference: Array, answer: Array) -> float:
    """Signal-to-noise ratio of `answer` in dB: 20 log10(|reference| / |reference - answer|).

    Equal arrays have inf dB. An answer with NaN or infinity has -inf dB, and so has any error
    against a reference of zeros. Both arrays have the same shape.
    """
    exact = reference.astype(np.float64)
    noise = float(np.square(exact - answer).sum())
    if not math.isfinite(noise):
        return -math.inf
    signal = float(np.square(exact).sum())
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf


def log_softmax(logits: npt.NDArray[np.floating]) -> Array:
    """Logarithms of the probabilities of one image's `logits` (classes,), computed in fp64."""
    exact = logits.astype(np.float64) - logits.max()
    logs: Array = (exact - np.log(np.exp(exact).sum())).astype(np.float32)
    return logs
