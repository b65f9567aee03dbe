"""One answer compared with its reference: values that are not finite first, then the numbers.

Every sample is compared alone; nothing is averaged over a batch. NumPy only, no I/O.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from vit_export.artifact.tolerance import Tolerance
from vit_export.core.numerics import Array, snr_db


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One answer beside its reference."""

    sample: str
    """Recipe of the input."""
    batch: int
    """Size of the batch that the answer came from."""
    row: int
    """Row of the answer in that batch."""
    max_abs: float
    """Largest |reference - answer|; infinite unless both are finite."""
    allowed: float
    """Largest error that the tolerance allows."""
    snr_db: float
    """Signal-to-noise ratio of this answer (`core.numerics`); infinite for equality."""
    least_snr_db: float | None
    """Minimum of `snr_db` that the tolerance sets; None for no minimum."""
    top1: bool | None
    """Whether the top classes agree. None where the reference's own noise could flip them, and
    for a model that does not classify."""
    problem: str | None
    """What is wrong, in words; None when the answer passes."""
    output: str = ""
    """The output that is compared; empty if the artifact has no other one."""

    @property
    def subject(self) -> str:
        """What is compared, for reports: the sample, or an output of several for that sample."""
        return f"{self.output} of {self.sample}" if self.output else self.sample

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return self.problem is None

    @property
    def error_share(self) -> float:
        """The error as a share of what is allowed, by whichever limit is nearer."""
        share = self.max_abs / max(self.allowed, 1e-300)
        if self.least_snr_db is None or self.max_abs == 0:
            return share
        return max(share, float(10 ** min((self.least_snr_db - self.snr_db) / 20, 300)))


def compare(
    reference: Array,
    answer: Array,
    floor: float,
    tolerance: Tolerance,
    *,
    signal: float,
    classifies: bool,
    sample: str,
    output: str = "",
    batch: int = 1,
    row: int = 0,
) -> Comparison:
    """Return the comparison of one sample's `answer` with its `reference`, two arrays of one shape.

    Args:
        reference: the eager model's answer.
        answer: the artifact's answer.
        floor: the largest |fp32 - fp64| of `reference`.
        tolerance: how far the answer may be off.
        signal: the signal of the model's answers (`core.numerics.measure_signal`).
        classifies: whether the position of the largest value is a class.
        sample: recipe of the input, for the report.
        output: name of the output, if the artifact has several.
        batch: size of the batch that `answer` came from.
        row: row of `answer` in that batch.
    """
    error = np.abs(reference.astype(np.float64) - answer.astype(np.float64))
    noise = tolerance.noise(floor, signal)
    comparison = Comparison(
        sample=sample,
        output=output,
        batch=batch,
        row=row,
        max_abs=float(error.max()) if np.isfinite(error).all() else math.inf,
        allowed=tolerance.max_error(reference, floor, signal),
        snr_db=snr_db(signal, reference, answer),
        least_snr_db=tolerance.least_snr_db,
        top1=_top_classes_agree(reference, answer, noise) if classifies else None,
        problem=None,
    )
    return replace(comparison, problem=_find_problem(comparison, reference, answer, tolerance))


def _find_problem(
    comparison: Comparison, reference: Array, answer: Array, tolerance: Tolerance
) -> str | None:
    """Return the first thing that is wrong with `answer`, in words; None if it passes."""
    if not np.isfinite(reference).all():
        return "the reference itself is not finite"
    if not np.isfinite(answer).all():
        bad = int((~np.isfinite(answer)).sum())
        return f"{bad} of {answer.size} values are NaN or infinite"
    least = comparison.least_snr_db
    if tolerance.limits_largest_error and not comparison.max_abs <= comparison.allowed:
        worst = int(np.abs(reference.astype(np.float64) - answer.astype(np.float64)).argmax())
        off, allowed = comparison.max_abs, comparison.allowed
        return f"off by {off:.3g} at output {worst}, {allowed:.3g} is allowed"
    if least is not None and not comparison.snr_db >= least:
        ratio = f"signal-to-noise ratio of {comparison.snr_db:.1f} dB"
        return f"{ratio}, at least {least:g} dB is required"
    if comparison.top1 is False:
        return f"top class {int(answer.argmax())} instead of {int(reference.argmax())}"
    return None


def _top_classes_agree(reference: Array, answer: Array, noise: float) -> bool | None:
    """Return whether the top classes agree; None if `noise` could flip the reference's own."""
    if reference.size == 1:
        return None
    runner_up, top = np.partition(reference, -2)[-2:]
    if not top - runner_up > 2 * noise:
        return None
    return bool(answer.argmax() == reference.argmax())
