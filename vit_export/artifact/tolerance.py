"""How far an answer may be from its reference: one record, which a manifest stores.

The numbers stand in the table of `validation/tolerances.py`. NumPy only, no I/O.
"""

import math
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from vit_export.core.errors import RequestError
from vit_export.core.numerics import Array


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """How far answers in one precision may be from the reference, and why.

    A tolerance with `least_snr_db` limits the signal-to-noise ratio of each sample. A tolerance
    without it limits the largest error: `floors` noise floors of the reference plus `relative`
    times the largest |reference|.
    """

    floors: float = 0
    """Maximum error in noise floors of the reference, |fp32 - fp64|."""
    relative: float = 0
    """Maximum error as a share of the largest |reference|, added to `floors`."""
    least_snr_db: float | None = None
    """Minimum signal-to-noise ratio of one sample in dB; it replaces `floors` and `relative`."""
    alone_snr_db: float | None = None
    """Minimum signal-to-noise ratio in dB of a row of a batch against the same image alone."""
    reason: str

    def __post_init__(self) -> None:
        """Raise RequestError if `floors` or `relative` is negative."""
        for name in ("floors", "relative"):
            if getattr(self, name) < 0:
                message = f"{name} is {getattr(self, name)}, and an error can't be negative."
                raise RequestError(message, "export the model again.")

    def max_error(self, reference: Array, floor: float) -> float:
        """The largest error that one sample may have anywhere in its answer.

        `floor` is the largest |fp32 - fp64| of this sample's `reference`.
        """
        if self.least_snr_db is None:
            return self.floors * floor + self.relative * float(np.abs(reference).max())
        noise_share = float(10 ** (-self.least_snr_db / 20))
        return float(np.linalg.norm(reference.astype(np.float64))) * noise_share

    def noise(self, reference: Array, floor: float) -> float:
        """The error of a correct answer; two classes whose margin is smaller are tied."""
        if self.least_snr_db is None:
            return floor
        return self.max_error(reference, floor) / math.sqrt(reference.size)

    @property
    def against_alone(self) -> Self:
        """The tolerance of a row of a batch against the same image alone."""
        if self.alone_snr_db is None:
            return self
        return replace(self, least_snr_db=self.alone_snr_db)
