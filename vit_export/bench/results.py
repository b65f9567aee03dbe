"""The numbers of a bench: one row per candidate and batch size."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import comb

CONFIDENCE = 0.95
"""Confidence level of the interval of a median."""


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """Time of a candidate over the time of the first one: the median over rounds."""

    median: float
    low: float
    """Lower bound of the 95% interval of the median."""
    high: float
    """Upper bound of the 95% interval of the median."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One candidate at one batch size; times are of a whole batch, in milliseconds."""

    name: str
    batch: int
    arithmetic: str
    """Arithmetic of the matmuls: "fp32" or "int8"; "gpu" for an engine."""
    version: str
    """Name and version of the runtime."""
    rounds_ms: tuple[float, ...]
    """The median of each round."""
    p50_ms: float
    p90_ms: float
    min_ms: float
    images_per_s: float
    """Throughput at the median time."""
    against_first: Ratio
    limit_share: float | None
    """Share of the roofline at the least time: 1 is the machine's limit; None for an engine."""
    load_ms: float
    """Time to open the candidate."""
    peak_bytes: int
    """Largest resident size of the process so far."""
    size_bytes: int | None
    """Size of the file; None for a candidate without a file."""
    worst_snr_db: float | None
    """Least signal-to-noise ratio against the eager answers in the manifest; None if unknown."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The results of a whole bench."""

    rows: tuple[Row, ...]
    gflops_per_s: dict[int, dict[str, float]]
    """The roofline, by batch size and arithmetic: best rate of matmuls at the model's shapes."""
    flops: int
    """FLOPs of the answer to one image."""
    machine: dict[str, str]
    """System, processor, cores and threads."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Why a baseline could not take the user's own code, by its name."""

    def limits_ms(self, batch: int) -> dict[str, float]:
        """Return the least possible milliseconds of a batch, by arithmetic."""
        gflop = batch * self.flops / 1e9
        return {name: 1000 * gflop / rate for name, rate in self.gflops_per_s[batch].items()}


def compare_rounds(times: Sequence[float], first: Sequence[float]) -> Ratio:
    """Return the ratio of two candidates that ran side by side, one time per round of each.

    The bounds are order statistics of the ratios: the interval of the sign test.
    """
    ratios = sorted(mine / theirs for mine, theirs in zip(times, first, strict=True))
    skip = _count_outside(len(ratios))
    return Ratio(
        median=statistics.median(ratios), low=ratios[skip], high=ratios[len(ratios) - 1 - skip]
    )


def _count_outside(count: int) -> int:
    """Return how many of the least, and of the largest, values lie outside the 95% interval."""
    skip, probability = 0, 2 / 2**count
    while skip + 1 <= (count - 1) // 2:
        probability += 2 * comb(count, skip + 1) / 2**count
        if probability > 1 - CONFIDENCE:
            break
        skip += 1
    return skip


def find_percentile(times: Sequence[float], percent: int) -> float:
    """Return the smallest of `times` that at least `percent` % of them do not exceed."""
    ordered = sorted(times)
    return ordered[max(-(-len(ordered) * percent // 100) - 1, 0)]
