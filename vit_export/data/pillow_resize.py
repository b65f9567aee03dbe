"""The arithmetic of Pillow's resize as products of integers, for runtimes that lack such a resize.

Pillow resizes 8-bit images in two passes, one along rows and one along columns. In each pass a new
value is a rounded sum of old values times 22-bit weights (src/libImaging/Resample.c of Pillow). A
model file computes a pass as a matrix product in fp32. Each weight is split into two halves of
eleven bits, so that sums are exact within the 24 bits of a mantissa as long as a side shrinks by at
most a factor of sixteen. Beyond that, the largest sums are off by about 2^-20 of a step before
rounding.
"""

import numpy as np
import numpy.typing as npt

from vit_export.core.errors import RequestError
from vit_export.core.numerics import Array
from vit_export.data.preprocessing import Preprocessing, check_reads_files

WEIGHT_BITS = 22
"""Fractional bits of a weight: Pillow has 32 bits, less 8 for a value and 2 for sums."""
HALF_BITS = 11
MAX_VALUE = 255
"""Largest value of an 8-bit pixel."""
TINY = 1e-9
"""Smallest x at which sin(x) / x is evaluated; it is 1 there in fp64."""
SHARPNESS = -0.5
"""Free parameter of Pillow's bicubic filter."""
FILTERS = ("bilinear", "bicubic", "lanczos")
COLUMNS_FIRST_SINCE = 13
"""Major version of Pillow from which the pass along columns may come first."""


def check_resizable(preprocessing: Preprocessing | None) -> Preprocessing:
    """Return `preprocessing` if a model file or a C++ project can compute it.

    Raises:
        RequestError: there is no preprocessing, or it resizes by nearest neighbour.
    """
    if preprocessing is None:
        message = "The model has no preprocessing: it is unknown how images become its input."
        raise RequestError(message, "export it with --mean, --std and --resize.")
    check_reads_files(preprocessing, "export it with --preprocess none, and give it arrays.")
    if preprocessing.interpolation not in FILTERS:
        message = "No file can resize by nearest: rounding would decide which pixel is taken."
        raise RequestError(message, f"export it with --interpolation {' or '.join(FILTERS)}.")
    return preprocessing


def columns_may_come_first(pillow: str) -> bool:
    """Return whether this version of Pillow may resize along columns first.

    Such a version does so where an image loses more than twice as many rows as columns.
    """
    return int(pillow.partition(".")[0]) >= COLUMNS_FIRST_SINCE


def compute_normalization(
    preprocessing: Preprocessing,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return factor and summand of each channel, (C, 1, 1) each, that normalize 8-bit values."""
    mean = np.array(preprocessing.mean)[:, None, None]
    std = np.array(preprocessing.std)[:, None, None]
    return 1 / (MAX_VALUE * std), -mean / std


def fold_into_convolution(
    weight: Array, bias: Array | None, preprocessing: Preprocessing
) -> tuple[Array, Array]:
    """Return the kernel (D, C, p, p) and bias (D,) of a patch convolution over 8-bit values.

    Its output is that of the convolution with `weight` and `bias` over normalized values.
    """
    factor, summand = compute_normalization(preprocessing)
    exact = weight.astype(np.float64)
    new_bias = (exact * summand).sum(axis=(1, 2, 3)) + (0 if bias is None else bias)
    return (exact * factor).astype(np.float32), new_bias.astype(np.float32)
