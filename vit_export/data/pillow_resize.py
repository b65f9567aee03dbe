"""The arithmetic of Pillow's resize in products of whole numbers, as far as no library does it.

Pillow resizes 8-bit images in two passes, one along rows and one along columns. In each of them a
level is a sum of levels times weights of 22 bits, rounded (src/libImaging/Resample.c of Pillow).
A file does a pass as a matrix product in fp32: weights are cut in two halves of eleven bits, so
that sums stay within the 24 bits of a mantissa, exactly, where a side shrinks up to sixteen times.
Beyond, the largest ones leave it and are off by some 2^-20 of a level before they are rounded.
"""

import numpy as np
import numpy.typing as npt

from vit_export.core.errors import RequestError
from vit_export.core.numerics import Array
from vit_export.data.preprocessing import Preprocessing

WEIGHT_BITS = 22
"""Of a weight, behind the point: what Pillow has left of 32 for 8 of a level and 2 of sums."""
HALF_BITS = 11
HIGHEST = 255
TINY = 1e-9
"""Near enough to 0 for sin(x) / x to be 1."""
SHARPNESS = -0.5
"""The free parameter of Pillow's bicubic filter."""
FILTERS = ("bilinear", "bicubic", "lanczos")
TALL_FIRST = 13
"""The version of Pillow since which columns come first where they lose twice as much as rows."""


def check_resizable(steps: Preprocessing | None) -> Preprocessing:
    """The same, when pixels can become the model's input inside a file, or in C++.

    Raises:
        RequestError: no preprocessing, or a resize by copying pixels.
    """
    if steps is None:
        message = "The model has no preprocessing: nothing says how images become its input."
        raise RequestError(message, "export it with --mean, --std and --resize.")
    if steps.interpolation not in FILTERS:
        message = "No file resizes by nearest: which pixel that is, rounding decides."
        raise RequestError(message, f"export it with --interpolation {' or '.join(FILTERS)}.")
    return steps


def columns_may_come_first(pillow: str) -> bool:
    """Whether this version of Pillow begins with columns where an image becomes much less tall."""
    return int(pillow.partition(".")[0]) >= TALL_FIRST


def normalization(steps: Preprocessing) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Factor and summand of each channel, (C, 1, 1), that make the model's numbers of levels."""
    mean, std = np.array(steps.mean)[:, None, None], np.array(steps.std)[:, None, None]
    return 1 / (HIGHEST * std), -mean / std


def folded(weight: Array, bias: Array | None, steps: Preprocessing) -> tuple[Array, Array]:
    """Kernel (D, C, p, p) and bias (D,) of the patch convolution that take levels as they are."""
    factor, summand = normalization(steps)
    exact = weight.astype(np.float64)
    moved = (exact * summand).sum(axis=(1, 2, 3)) + (0 if bias is None else bias)
    return (exact * factor).astype(np.float32), moved.astype(np.float32)
