"""Accuracy metrics on the user's images: counts, proportions and their confidence intervals.

No I/O, no arrays.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from vit_export.data.image_folder import SkippedImages

QUANTILE_95 = 1.959963984540054
"""Quantile of the normal distribution for a two-sided interval of 95%."""


@dataclass(frozen=True)
class Proportion:
    """A count out of a total, such as accuracy or agreement."""

    hits: int
    of: int
    """The total, at least 1."""

    @property
    def value(self) -> float:
        """The share, 0 to 1."""
        return self.hits / self.of

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% confidence interval of the share (Wilson, 1927), within 0 to 1.

        It has a width even where all or none are hits.
        """
        n, p, z2 = self.of, self.value, QUANTILE_95**2
        centre = (p + z2 / (2 * n)) / (1 + z2 / n)
        half = QUANTILE_95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
        # rounding must not put p outside of its own interval
        return max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half))

    def to_mapping(self) -> Mapping[str, Any]:
        """Plain values, for JSON."""
        return asdict(self) | {"value": self.value, "interval": self.interval}


@dataclass(frozen=True, kw_only=True)
class AccuracyReport:
    """How an artifact answers the user's images, beside eager PyTorch where that answered too.

    It changes no verdict, except that of precision auto (`Verdict.apply_budget`).
    """

    folder: str
    count: int
    """Number of images that took part."""
    accuracy_before: Proportion | None
    """Accuracy of eager PyTorch; None without labels, or where no eager model answered."""
    accuracy_after: Proportion | None
    """Accuracy of the artifact in its runtime; None without labels."""
    agreement: Proportion | None
    """Images with the same top class in both; None unless one class is the answer, and None
    without an eager model."""
    same_classes: Proportion | None = None
    """Images with the same classes above 50% in both; None unless each class has a probability of
    its own, and None without an eager model."""
    worst_snr_db: float | None
    """Smallest signal-to-noise ratio of the artifact's answers against eager PyTorch's."""
    worst_image: str | None
    """Name of the image with `worst_snr_db`."""
    not_finite: int
    """Answers of the artifact with NaN or infinity; they are neither right nor in agreement."""
    unreadable: SkippedImages
    unlabelled: SkippedImages
    not_images: SkippedImages
    """Files of the folder that are no images."""

    @property
    def difference_points(self) -> float | None:
        """Accuracy after minus accuracy before, in percentage points."""
        if self.accuracy_before is None or self.accuracy_after is None:
            return None
        return 100 * (self.accuracy_after.hits - self.accuracy_before.hits) / self.count

    def to_mapping(self) -> Mapping[str, Any]:
        """Plain values, for JSON."""
        names = ("accuracy_before", "accuracy_after", "agreement", "same_classes")
        proportions = {name: getattr(self, name) for name in names}
        return (
            asdict(self)
            | {name: one and one.to_mapping() for name, one in proportions.items()}
            | {"difference_points": self.difference_points}
        )
