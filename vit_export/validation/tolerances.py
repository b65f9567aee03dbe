"""The tolerance of each precision against eager fp32: one table, each row with its reason.

`scripts/tolerances.py` measures honest files and forged ones; the limits lie between the two. The
most exact precision comes first.
"""

import math
from collections.abc import Iterable
from dataclasses import replace

from vit_export.artifact.budget import MIN_SNR_DB
from vit_export.artifact.tolerance import Tolerance

SHARED_SCALE = "A batch has one run-time scale, so its images change each other's rounding"
TOLERANCES = {
    "fp32": Tolerance(
        floors=8,
        relative=1e-6,
        least_snr_db=60,
        reason="the same fp32 sums in another order are off as far as the reference itself; eight "
        "times its floor leaves room for longer chains, 1e-6 for samples whose floor is 0 by luck. "
        "60 dB refuses models whose own noise would hide another answer",
    ),
    "fp16": Tolerance(
        least_snr_db=45,
        alone_snr_db=55,
        reason="ten bits of mantissa round at 66 dB once, and some hundred roundings add up",
    ),
    "bf16": Tolerance(
        least_snr_db=27,
        alone_snr_db=37,
        reason="seven bits of mantissa round at 48 dB once, 18 dB less than fp16 at every step",
    ),
    "weights-int8": Tolerance(
        least_snr_db=15,
        alone_snr_db=55,
        reason="as int8; every multiplication is in fp32, so rows hardly depend on each other",
    ),
    "int8-static": Tolerance(
        least_snr_db=15,
        alone_snr_db=35,
        reason="as int8; scales are fixed, so only a value on the edge between two steps can move",
    ),
    "int8": Tolerance(
        least_snr_db=MIN_SNR_DB,
        alone_snr_db=MIN_SNR_DB,
        reason="a sixth of the signal: the worst sample of a correct file has 21 dB, and a file "
        f"that halves what depends on the image has at most 6. {SHARED_SCALE}",
    ),
    "weights-int4": Tolerance(
        least_snr_db=9,
        alone_snr_db=55,
        reason="a weight of sixteen values keeps 20 dB, and the errors of layers add up: the worst "
        "sample of a published DINOv2 has 13 dB",
    ),
}
"""By precision."""


def combine(precisions: Iterable[str]) -> Tolerance:
    """Return the tolerance of a file that computes in all of `precisions`: each one's lower limit.

    An unknown precision has the limits of the most exact one.
    """
    order = list(TOLERANCES)
    rows = [TOLERANCES[name] for name in sorted(set(precisions) & set(order), key=order.index)]
    if not rows:
        return TOLERANCES["fp32"]
    alone = [one.alone_snr_db for one in rows if one.alone_snr_db is not None]
    return replace(rows[-1], alone_snr_db=min(alone, default=None))


def name_least_exact(precisions: Iterable[str]) -> str:
    """Return the least exact of the precisions in which a file computes; fp32 if none is known."""
    computed = set(precisions)
    return next((name for name in reversed(TOLERANCES) if name in computed), "fp32")


def raise_to(tolerance: Tolerance, least_snr_db: float, reason: str) -> Tolerance:
    """Return `tolerance` with a minimum of `least_snr_db` where its own is lower.

    Two answers within that minimum differ by at most twice the error, which is 6 dB.
    """
    alone_snr_db = least_snr_db - 20 * math.log10(2)
    return replace(
        tolerance,
        least_snr_db=max(least_snr_db, tolerance.least_snr_db or 0),
        alone_snr_db=max(alone_snr_db, tolerance.alone_snr_db or 0),
        reason=reason,
    )


def within_budget(least_snr_db: float) -> Tolerance:
    """Return the tolerance of a file of precision auto, whose user set its minimum SNR in dB."""
    return raise_to(TOLERANCES["int8"], least_snr_db, "the minimum that --min-snr sets")
