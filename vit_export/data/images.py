"""Image files: found in folders, and read as the input of a model."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vit_export.core.errors import RequestError
from vit_export.core.numerics import Array
from vit_export.data.preprocessing import (
    Preprocessing,
    compute_resized_size,
    load_image,
    preprocess,
)

Pixels = npt.NDArray[np.uint8]
"""One image, (H, W, C)."""

IMAGE_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}


def find_images(folder: Path) -> list[Path]:
    """Return the image files in `folder` and its sub-folders, sorted, without hidden ones.

    Links are followed, because large datasets are often trees of links.

    Raises:
        RequestError: the folder does not exist, holds no images, or has an unreadable sub-folder.
    """
    files = []
    for place, folders, names in os.walk(folder, onerror=_raise_unreadable, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [Path(place, name) for name in names if not name.startswith(".")]
    images = sorted(path for path in files if path.suffix.lower() in IMAGE_SUFFIXES)
    if not images:
        raise RequestError(f"{folder} holds no images.", "name a folder of PNG or JPEG files.")
    return images


def _raise_unreadable(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):  # these hold no images
        raise RequestError(f"{error.filename}: {error.strerror}.", "check its permissions.")


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
