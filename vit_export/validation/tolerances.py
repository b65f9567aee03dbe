"""The tolerance of each precision against eager fp32: one table, each row with its reason."""

import math

from vit_export.artifact.tolerance import Tolerance

SHARED_SCALE = "A batch has one run-time scale, so its images change each other's rounding"
TOLERANCES = {
    "fp32": Tolerance(
        floors=8,
        relative=1e-6,
        reason="the same fp32 sums in another order are off as far as the reference itself; eight "
        "times its floor leaves room for longer chains, 1e-6 for samples whose floor is 0 by luck",
    ),
    "fp16": Tolerance(
        least_snr_db=50,
        alone_snr_db=60,
        reason="ten bits of mantissa round at 66 dB once, and some hundred roundings add up",
    ),
    "bf16": Tolerance(
        least_snr_db=32,
        alone_snr_db=42,
        reason="seven bits of mantissa round at 48 dB once, 18 dB less than fp16 at every step",
    ),
    "int8": Tolerance(
        least_snr_db=20,
        alone_snr_db=20,
        reason=f"a tenth of the signal; a larger error flips top classes. {SHARED_SCALE}",
    ),
    "int8-static": Tolerance(
        least_snr_db=20,
        alone_snr_db=40,
        reason="as int8; scales are fixed, so only a value on the edge between two steps can move",
    ),
    "weights-int8": Tolerance(
        least_snr_db=20,
        alone_snr_db=60,
        reason="as int8; every multiplication is in fp32, so rows hardly depend on each other",
    ),
    "weights-int4": Tolerance(
        least_snr_db=10,
        alone_snr_db=60,
        reason="a weight of sixteen values keeps 20 dB, and the errors of layers add up: twelve "
        "blocks have 13 to 15 dB left, with random weights as with trained ones",
    ),
}
"""By precision."""


def within_budget(least_snr_db: float) -> Tolerance:
    """Return the tolerance of a file of precision auto, whose user set its minimum SNR in dB.

    Two answers within it differ by at most twice the error, which is 6 dB.
    """
    return Tolerance(
        least_snr_db=least_snr_db,
        alone_snr_db=least_snr_db - 20 * math.log10(2),
        reason="the minimum that --min-snr sets",
    )
