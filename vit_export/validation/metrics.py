"""What a model and its artifact are worth on a user's images: accuracy, agreement, and how sure.

No I/O, no arrays: counts in, shares out.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from vit_export.data.dataset import Skipped

QUANTILE = 1.959963984540054
"""Of the normal distribution, for an interval of 95%."""


@dataclass(frozen=True)
class Share:
    """So many of so many, as accuracy and agreement are."""

    hits: int
    of: int
    """At least 1."""

    @property
    def value(self) -> float:
        """0..1."""
        return self.hits / self.of

    @property
    def interval(self) -> tuple[float, float]:
        """Between which shares the true one lies with 95% confidence (Wilson, 1927).

        It stays within 0..1 and has a width where all or none are hits.
        """
        n, p, z2 = self.of, self.value, QUANTILE**2
        centre = (p + z2 / (2 * n)) / (1 + z2 / n)
        half = QUANTILE * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
        return max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half))  # p is in it

    def to_mapping(self) -> Mapping[str, Any]:
        """Plain values, for JSON."""
        return asdict(self) | {"value": self.value, "interval": self.interval}


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """How an artifact answers a user's images, beside eager PyTorch where that could be asked.

    It decides nothing but of auto: PROVEN or not, that is the verdict's.
    """

    folder: str
    count: int
    """Images that took part."""
    accuracy_before: Share | None
    """Of eager PyTorch; None without labels, or where there is no eager model to ask."""
    accuracy_after: Share | None
    """Of the artifact in its runtime; None without labels."""
    agreement: Share | None
    """Images of which both have the same top class; None where there is none to compare."""
    worst_snr_db: float | None
    """Of the artifact's answers against eager PyTorch's."""
    worst_image: str | None
    not_finite: int
    """Answers of the artifact with NaN or infinity; they are neither right nor in agreement."""
    unreadable: Skipped
    unlabelled: Skipped

    @property
    def difference_points(self) -> float | None:
        """Accuracy after less accuracy before, in percentage points."""
        if self.accuracy_before is None or self.accuracy_after is None:
            return None
        return 100 * (self.accuracy_after.hits - self.accuracy_before.hits) / self.count

    def to_mapping(self) -> Mapping[str, Any]:
        """Plain values, for JSON."""
        shares = ("accuracy_before", "accuracy_after", "agreement")
        told = {name: getattr(self, name) for name in shares}
        return (
            asdict(self)
            | {name: share and share.to_mapping() for name, share in told.items()}
            | {"difference_points": self.difference_points}
        )
