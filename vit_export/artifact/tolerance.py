"""How far an answer may be from its reference: one record, which a manifest stores.

The numbers stand in the table of `validation/tolerances.py`. NumPy only, no I/O.
"""

import math
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from vit_export.core.errors import RequestError
from vit_export.core.numerics import Array

SIGNAL = (
    "rms over the samples of the eager answer less its mean over them; "
    "log-probabilities less their mean over classes first"
)


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """How far answers in one precision may be from the reference, and why.

    `least_snr_db` limits the signal-to-noise ratio of each sample; `core.numerics` defines the
    signal. `floors` and `relative`, where they are given, limit the largest error as well: `floors`
    noise floors of the reference plus `relative` times the largest |reference|.
    """

    floors: float = 0
    """Maximum error in noise floors of the reference, |fp32 - fp64|."""
    relative: float = 0
    """Maximum error as a share of the largest |reference|, added to `floors`."""
    least_snr_db: float | None = None
    """Minimum signal-to-noise ratio of one sample in dB; None for no minimum."""
    alone_snr_db: float | None = None
    """Minimum signal-to-noise ratio in dB of a row of a batch against the same image alone."""
    reason: str
    signal: str = SIGNAL
    """What the ratio is measured against; a manifest says it to its readers."""

    def __post_init__(self) -> None:
        """Raise RequestError if a number is negative or not finite."""
        for name in ("floors", "relative", "least_snr_db", "alone_snr_db"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                message = f"{name} is {value}, not a finite number of at least 0."
                raise RequestError(message, "export the model again.")

    @property
    def limits_largest_error(self) -> bool:
        """Whether the largest error has a limit of its own."""
        return self.floors > 0 or self.relative > 0

    def max_error(self, reference: Array, floor: float, signal: float) -> float:
        """The largest error that one sample may have anywhere in its answer.

        Args:
            reference: the right answer to this sample.
            floor: the largest |fp32 - fp64| of `reference`.
            signal: the signal of the model's answers.
        """
        limits = []
        if self.limits_largest_error:
            limits.append(self.floors * floor + self.relative * float(np.abs(reference).max()))
        if self.least_snr_db is not None:
            limits.append(self.max_rms_error(signal) * math.sqrt(reference.size))
        return min(limits, default=math.inf)

    def max_rms_error(self, signal: float) -> float:
        """The largest root mean square error of one sample, by the signal-to-noise ratio alone."""
        if self.least_snr_db is None:
            return math.inf
        return signal * float(10 ** (-self.least_snr_db / 20))

    def noise(self, floor: float, signal: float) -> float:
        """The error of a correct answer; two classes whose margin is smaller are tied."""
        return floor if self.limits_largest_error else self.max_rms_error(signal)

    def without_snr(self) -> Self:
        """The limit of the largest error alone."""
        return replace(self, least_snr_db=None, alone_snr_db=None)

    @property
    def against_alone(self) -> Self:
        """The tolerance of a row of a batch against the same image alone."""
        if self.alone_snr_db is None:
            return self
        return replace(self, least_snr_db=self.alone_snr_db)
