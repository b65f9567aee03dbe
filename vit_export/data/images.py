"""Image files in folders: which there are, and as what a model sees them."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vit_export.core.errors import RequestError
from vit_export.core.numerics import Array
from vit_export.data.preprocessing import Preprocessing, load_image, preprocess, resized_sides

Levels = npt.NDArray[np.uint8]

IMAGE_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}


def find_images(folder: Path) -> list[Path]:
    """The image files in `folder` and its sub-folders, sorted; nothing that is hidden.

    Links are followed: large sets are often trees of them.

    Raises:
        RequestError: no folder, no images in it, or a sub-folder that can't be read.
    """
    found = []
    for place, folders, names in os.walk(folder, onerror=_unreadable, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(place, name) for name in names if not name.startswith(".")]
    images = sorted(path for path in found if path.suffix.lower() in IMAGE_SUFFIXES)
    if not images:
        raise RequestError(f"{folder} holds no images.", "name a folder of PNG or JPEG files.")
    return images


def _unreadable(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):  # these hold no images
        raise RequestError(f"{error.filename}: {error.strerror}.", "check its permissions.")


def read_input(path: Path, steps: Preprocessing) -> Array:
    """What the model takes of one file, (C, H, W).

    Raises:
        RequestError: it can't be read as an image.
    """
    return preprocess(load_image(path, steps.mode), steps)


def read_levels(path: Path, steps: Preprocessing) -> Levels:
    """What a file that preprocesses by itself takes of one file, (H, W, C).

    Raises:
        RequestError: as `read_input`.
    """
    image = load_image(path, steps.mode)
    resized_sides(image.height, image.width, steps)  # refused here as there
    return np.asarray(image).reshape(image.height, image.width, len(steps.mean))


def read_batches(paths: Sequence[Path], steps: Preprocessing, size: int) -> Iterator[Array]:
    """What the model takes of all files, (B, C, H, W) at a time; the last batch may be smaller."""
    for start in range(0, len(paths), size):
        yield np.stack([read_input(path, steps) for path in paths[start : start + size]])
