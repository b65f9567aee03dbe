"""What a bench found of one contestant at one batch size, in numbers."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """How many times as long as the first contestant one takes: median over rounds."""

    median: float
    low: float
    high: float
    """Bounds of the 95% interval of the median."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One contestant at one batch size; times of a whole batch in milliseconds."""

    name: str
    batch: int
    arithmetic: str
    """Of its products: "fp32" or "int8"; "gpu" of an engine."""
    version: str
    rounds_ms: tuple[float, ...]
    """The median of each round."""
    p50_ms: float
    p90_ms: float
    min_ms: float
    images_per_s: float
    """At the median."""
    against_first: Ratio
    limit_share: float | None
    """What the answer's FLOPs take at the machine's best rate in its arithmetic, over the least
    time; None of an engine."""
    load_ms: float
    peak_bytes: int
    """Largest resident size of the process so far."""
    size_bytes: int | None
    worst_snr_db: float | None
    """Against the eager answers in the manifest; None where there are none."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A whole run."""

    rows: tuple[Row, ...]
    gflops_per_s: dict[int, dict[str, float]]
    """By batch and arithmetic: the machine's best rate of products at the model's shapes."""
    flops: int
    """That the answer to one image needs."""
    machine: dict[str, str]

    def limits_ms(self, batch: int) -> dict[str, float]:
        """By arithmetic: what a batch takes at the machine's best rate."""
        gflop = batch * self.flops / 1e9
        return {name: 1000 * gflop / rate for name, rate in self.gflops_per_s[batch].items()}


def ratio(times: Sequence[float], first: Sequence[float]) -> Ratio:
    """Of rounds that were run side by side, with the interval of order statistics."""
    found = sorted(mine / theirs for mine, theirs in zip(times, first, strict=True))
    skipped = _skipped(len(found))
    return Ratio(
        median=statistics.median(found), low=found[skipped], high=found[len(found) - 1 - skipped]
    )


def _skipped(count: int) -> int:
    """How many of the least and of the largest values a 95% interval of the median leaves out."""
    skipped, outside = 0, 2 / 2**count
    while skipped + 1 <= (count - 1) // 2:
        outside += 2 * comb(count, skipped + 1) / 2**count
        if outside > 1 - CONFIDENCE:
            break
        skipped += 1
    return skipped


def percentile(times: Sequence[float], percent: int) -> float:
    """The smallest time that `percent` of them do not exceed."""
    ordered = sorted(times)
    return ordered[max(-(-len(ordered) * percent // 100) - 1, 0)]
