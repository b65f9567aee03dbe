"""Arrays of answers, and computations on them that several folders share. NumPy only, no I/O.

The signal of an answer is what depends on the image: its deviation from the mean over the samples
of a proof. An offset that all images share carries no information, however large it is.
"""

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]


class SignalMeter:
    """Measures the signal of answers that come one at a time: only their sum stays in memory."""

    def __init__(self) -> None:
        self._first: npt.NDArray[np.float64] | None = None
        self._sum: npt.NDArray[np.float64] = np.zeros(())
        self._squares = 0.0
        self._count = 0

    def add(self, answer: npt.NDArray[np.floating]) -> None:
        """Add the reference's answer to one sample; all answers have one shape."""
        exact = answer.astype(np.float64)
        if self._first is None:
            self._first = exact
        with np.errstate(invalid="ignore", over="ignore"):  # then the signal is NaN
            deviation = exact - self._first  # small, even where all answers share a large offset
            self._sum = self._sum + deviation
            self._squares += float(np.square(deviation).sum())
        self._count += 1

    @property
    def rms(self) -> float:
        """The root mean square of all answers less their mean.

        It is 0 without an answer, and NaN if an answer is not finite.
        """
        if not self._count or not self._sum.size:
            return 0.0
        power = self._squares - float(np.square(self._sum).sum()) / self._count
        if not math.isfinite(power):
            return math.nan
        return math.sqrt(max(power, 0.0) / (self._count * self._sum.size))


def measure_signal(answers: Iterable[npt.NDArray[np.floating]]) -> float:
    """Return the signal of a model's `answers` to the samples of a proof.

    It is the root mean square, over samples and numbers, of each answer less the mean over the
    samples. Only answers of the reference belong here.
    """
    meter = SignalMeter()
    for answer in answers:
        meter.add(answer)
    return meter.rms


def snr_db(signal: float, reference: Array, answer: Array) -> float:
    """Return the signal-to-noise ratio of `answer` in dB: 20 log10(signal / rms error).

    Equal arrays have inf dB. An answer with NaN or infinity has -inf dB, and so has any error
    where the signal is 0.

    Args:
        signal: what `measure_signal` returned for the model.
        reference: the right answer.
        answer: the answer to judge, of the same shape.
    """
    error = rms_error(reference, answer)
    if not math.isfinite(error):
        return -math.inf
    if error == 0:
        return math.inf
    return 20 * math.log10(signal / error) if signal > 0 else -math.inf


def rms_error(reference: Array, answer: Array) -> float:
    """Return the root mean square of `reference - answer`; inf or NaN if a number is not finite."""
    with np.errstate(invalid="ignore"):
        return float(np.sqrt(np.square(reference.astype(np.float64) - answer).mean()))


def log_softmax(logits: npt.NDArray[np.floating]) -> Array:
    """Logarithms of the probabilities of one image's `logits` (classes,), computed in fp64."""
    exact = logits.astype(np.float64) - logits.max()
    logs: Array = (exact - np.log(np.exp(exact).sum())).astype(np.float32)
    return logs
