"""Scores of classes: probabilities from logits, and back to what a proof compares.

A softmax subtracts one number from all logits of an image, so the logarithms of its probabilities
are as far off as the logits are. Probabilities themselves would hide errors, since nearly all of
them are next to zero.

A sigmoid has an inverse, so a proof recovers the logits. Near 1 a probability in fp32 says little
of its logit: 0.99995 stands for 9.90 as well as for 9.91. So a recovered logit is the
nearest one to the right logit that rounds to the probability. From `MAX_LOGIT` on every probability
is 1.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt

from vit_export.core.numerics import Array, log_softmax

Probability = Literal["softmax", "sigmoid"]
"""A score function whose scores are probabilities."""

MIN_LOG = -80.0
"""Smallest logarithm of a probability that is compared; smaller ones are raised to it."""
MAX_LOGIT = 24 * float(np.log(2))
"""Largest logit of a sigmoid that is compared: the next number of fp32 is 1."""
ROUNDING = 2.0**-23
"""Largest relative error of a probability that was computed in fp32 from the exact logit."""


def compute_probabilities(function: Probability, logits: Array) -> Array:
    """Return the probabilities (classes,) of one image's `logits`, computed in fp64."""
    if function == "softmax":
        softmax: Array = np.exp(log_softmax(logits))
        return softmax
    return _sigmoid(logits).astype(np.float32)


def expect_logs(function: Probability, logits: Array) -> Array:
    """Return what `recover_logs` returns for the right probabilities of `logits` (classes,)."""
    if function == "softmax":
        return np.maximum(log_softmax(logits), np.float32(MIN_LOG))
    return np.clip(logits, np.float32(MIN_LOG), np.float32(MAX_LOGIT))


def recover_logs(function: Probability, probabilities: Array, expected: Array) -> Array:
    """Return the logarithms of a softmax, or the logits of a sigmoid.

    A number that is no probability becomes NaN.

    Args:
        function: what made the probabilities.
        probabilities: of one image, (classes,).
        expected: the right result, which decides where the rounding of fp32 leaves a choice.
    """
    if function == "softmax":
        return _log(probabilities)
    return _recover_logits(probabilities, expected, ROUNDING)


def align_probabilities(function: Probability, alone: Array, answer: Array) -> tuple[Array, Array]:
    """Return two arrays that are equal if two computations gave the same probabilities."""
    if function == "softmax":
        return _log(alone), _log(answer)
    expected = _recover_logits(alone, np.zeros_like(alone), 0)
    return expected, _recover_logits(answer, expected, 2 * ROUNDING)  # both were rounded


def _recover_logits(probabilities: Array, expected: Array, rounding: float) -> Array:
    exact, right = probabilities.astype(np.float64), _sigmoid(expected)
    with np.errstate(divide="ignore", invalid="ignore"):  # no probability becomes NaN: a failure
        nearest = np.clip(right, exact * (1 - rounding), exact * (1 + rounding))
        logits = np.clip(np.log(nearest) - np.log1p(-nearest), MIN_LOG, MAX_LOGIT)
    return np.where(nearest == right, expected, logits.astype(np.float32))


def _log(probabilities: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):  # a negative one becomes NaN: a failure
        logs: Array = np.maximum(np.log(probabilities), np.float32(MIN_LOG))
    return logs


def _sigmoid(logits: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    with np.errstate(over="ignore"):  # exp(-logit) is infinite, and the sigmoid 0
        return 1 / (1 + np.exp(-logits.astype(np.float64)))
