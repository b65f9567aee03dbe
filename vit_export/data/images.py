"""Image files, read as the input of a model."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vit_export.core.numerics import Array
from vit_export.data.decode import load_image
from vit_export.data.preprocessing import Preprocessing, compute_resized_size, preprocess

Pixels = npt.NDArray[np.uint8]
"""One image, (H, W, C)."""


def read_input(path: Path, preprocessing: Preprocessing) -> Array:
    """Return the model's input for one image file, (C, H, W).

    Raises:
        RequestError: the file can't be read as an image.
    """
    return preprocess(load_image(path, preprocessing.mode), preprocessing)


def read_pixels(path: Path, preprocessing: Preprocessing) -> Pixels:
    """Return one image file as (H, W, C), the input of a model file that preprocesses by itself.

    Raises:
        RequestError: the file can't be read as an image.
    """
    image = load_image(path, preprocessing.mode)
    compute_resized_size(image.height, image.width, preprocessing)  # refuse elongated images
    return np.asarray(image).reshape(image.height, image.width, len(preprocessing.mean))


def read_batches(paths: Sequence[Path], preprocessing: Preprocessing, size: int) -> Iterator[Array]:
    """Yield the inputs of all files, (B, C, H, W) each; B is `size`, or less in the last batch.

    Raises:
        RequestError: a file can't be read as an image.
    """
    for start in range(0, len(paths), size):
        yield np.stack([read_input(path, preprocessing) for path in paths[start : start + size]])
