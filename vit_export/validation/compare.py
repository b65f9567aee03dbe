"""How near an answer has to be to the reference: tolerances in one table, judged per sample.

NumPy only, no I/O.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from vit_export.core.numerics import Array, snr_db


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """What one precision may differ by, and why."""

    floors: float = 0
    """Allowed maximum error, in noise floors of the reference (|fp32 - fp64|), ..."""
    relative: float = 0
    """... plus this share of the largest |reference|."""
    least_snr_db: float | None = None
    """Where this is given it is what counts: the least signal-to-noise ratio of one sample."""
    alone_snr_db: float | None = None
    """The same for a row of a batch against its image alone."""
    reason: str

    def allowed(self, reference: Array, floor: float) -> float:
        """The largest error that one sample may have anywhere in its answer."""
        if self.least_snr_db is None:
            return self.floors * floor + self.relative * float(np.abs(reference).max())
        return float(np.linalg.norm(reference.astype(np.float64))) * _share(self.least_snr_db)

    def noise(self, reference: Array, floor: float) -> float:
        """What an answer may be off by without anybody's fault: margins below it decide nothing."""
        if self.least_snr_db is None:
            return floor
        return self.allowed(reference, floor) / math.sqrt(reference.size)

    def of_rows(self) -> "Tolerance":
        """The tolerance of a row of a batch against the same image alone."""
        if self.alone_snr_db is None:
            return self
        return replace(self, least_snr_db=self.alone_snr_db)


def _share(snr_db: float) -> float:
    """The error's share of a signal."""
    return float(10 ** (-snr_db / 20))


COUPLED = "one run-time scale for a batch: its images change each other's rounding"
TOLERANCES = {
    "fp32": Tolerance(
        floors=8,
        relative=1e-6,
        reason="another order of the same fp32 sums errs like the reference itself; eight times "
        "its floor leaves room for longer chains, 1e-6 for samples whose floor is zero by luck",
    ),
    "fp16": Tolerance(
        least_snr_db=50,
        alone_snr_db=60,
        reason="ten bits of mantissa round by 66 dB once, and some hundred roundings add up",
    ),
    "bf16": Tolerance(
        least_snr_db=32,
        alone_snr_db=42,
        reason="seven bits of mantissa round by 48 dB once: eighteen less than fp16 at every step",
    ),
    "int8": Tolerance(
        least_snr_db=20,
        alone_snr_db=20,
        reason=f"a tenth of the signal: more flips classes. {COUPLED}",
    ),
    "int8-static": Tolerance(
        least_snr_db=20,
        alone_snr_db=40,
        reason="as int8; with fixed scales only a number on the edge between two steps can move",
    ),
    "weights-int8": Tolerance(
        least_snr_db=20, alone_snr_db=60, reason="as int8; products are in float, as in fp32"
    ),
    "weights-int4": Tolerance(
        least_snr_db=10,
        alone_snr_db=60,
        reason="a weight of sixteen values keeps 20 dB, and the layers' errors add up: 13 to 15 dB "
        "is what twelve blocks have left, with random weights as with trained ones",
    ),
}
"""By precision."""


def within_budget(least_snr_db: float) -> Tolerance:
    """The tolerance of a file that has to keep what its user asked for, in dB.

    Two answers within it differ by twice the error at most, which is 6 dB.
    """
    return Tolerance(
        least_snr_db=least_snr_db,
        alone_snr_db=least_snr_db - 20 * math.log10(2),
        reason="what was asked for with --min-snr",
    )


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One answer held against its reference."""

    sample: str
    batch: int
    row: int
    max_abs: float
    allowed: float
    snr_db: float
    """20 log10(|reference| / |error|); infinite for equality."""
    top1: bool | None
    """Whether the top classes agree; None where the reference's own noise could flip them,
    or where the model does not classify."""
    problem: str | None
    """What is wrong, in words; None when the answer passes."""

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return self.problem is None


def compare(
    reference: Array,
    answer: Array,
    floor: float,
    tolerance: Tolerance,
    *,
    classifies: bool,
    sample: str,
    batch: int = 1,
    row: int = 0,
) -> Comparison:
    """One sample's `answer` against its `reference` of the same shape, non-finite values first.

    `floor` is the largest |fp32 - fp64| of the reference for this sample.
    """
    allowed = tolerance.allowed(reference, floor)
    noise = tolerance.noise(reference, floor)
    top1 = _top1(reference, answer, noise) if classifies else None
    snr = snr_db(reference, answer)
    error = np.abs(reference.astype(np.float64) - answer.astype(np.float64))
    max_abs = float(error.max()) if np.isfinite(error).all() else math.inf
    problem = None
    if not np.isfinite(reference).all():
        problem = "the reference itself is not finite"
    elif not np.isfinite(answer).all():
        bad = int((~np.isfinite(answer)).sum())
        problem = f"{bad} of {answer.size} values are NaN or infinite"
    elif tolerance.least_snr_db is not None and snr < tolerance.least_snr_db:
        problem = f"{snr:.1f} dB of signal to noise, {tolerance.least_snr_db:g} dB is asked"
    elif tolerance.least_snr_db is None and max_abs > allowed:
        worst = int(error.argmax())
        problem = f"off by {max_abs:.3g} at output {worst}, {allowed:.3g} is allowed"
    elif top1 is False:
        problem = f"top class {int(answer.argmax())} instead of {int(reference.argmax())}"
    return Comparison(
        sample=sample,
        batch=batch,
        row=row,
        max_abs=max_abs,
        allowed=allowed,
        snr_db=snr,
        top1=top1,
        problem=problem,
    )


def _top1(reference: Array, answer: Array, noise: float) -> bool | None:
    if reference.size == 1:
        return None
    runner_up, top = np.partition(reference, -2)[-2:]
    if not top - runner_up > 2 * noise:
        return None
    return bool(answer.argmax() == reference.argmax())
