"""The image files in a folder and its sub-folders, and the files there that are no images."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from vit_export.core.errors import RequestError
from vit_export.data.decode import identify_format

IMAGE_SUFFIXES = {
    *(".apng", ".png", ".jfif", ".jpe", ".jpeg", ".jpg", ".webp", ".bmp", ".tif", ".tiff", ".gif"),
    *(".pbm", ".pgm", ".pnm", ".ppm", ".avif", ".avifs", ".heic", ".heif"),
}
"""Suffixes of files that count as images, readable or not; others count by their content."""
MAX_NAMES = 3
"""Number of left-out files that a report names."""


@dataclass(frozen=True)
class SkippedImages:
    """Files that are left out: how many, and the first of their names."""

    count: int = 0
    first: tuple[str, ...] = ()
    """Names of the first three."""

    @classmethod
    def from_paths(cls, paths: Iterable[Path], folder: Path) -> Self:
        """Return the record of the images at `paths`, named relative to `folder`."""
        names = [path.relative_to(folder).as_posix() for path in paths]
        return cls(len(names), tuple(names[:MAX_NAMES]))

    @property
    def names(self) -> str:
        """The first names, with an ellipsis if there are more."""
        return ", ".join(self.first) + (", …" if self.count > len(self.first) else "")


@dataclass(frozen=True)
class ImageFolder:
    """What a folder holds, without hidden files."""

    images: tuple[Path, ...]
    """Files with the suffix or the content of an image, sorted. They may be damaged."""
    not_images: tuple[Path, ...]
    """Other files, pipes, devices, and links to folders that are part of the same tree."""


def scan_folder(folder: Path) -> ImageFolder:
    """Return the images in `folder` and its sub-folders, and what else is there.

    Links are followed, because large datasets are often trees of links; but no folder is visited
    twice, as a link may lead back.

    Raises:
        RequestError: the folder does not exist, holds no images, or has an unreadable sub-folder.
    """
    files, links_back = _walk(folder)
    images = tuple(path for path in sorted(files) if _counts_as_image(path))
    taken = frozenset(images)
    not_images = tuple(sorted([*links_back, *(path for path in files if path not in taken)]))
    if not images:
        message = f"{folder} holds no images"
        if not_images:
            others = SkippedImages.from_paths(not_images, folder)
            message += f", but {others.count} other files: {others.names}"
        raise RequestError(f"{message}.", "name a folder of PNG or JPEG files.")
    return ImageFolder(images, not_images)


def find_images(folder: Path) -> list[Path]:
    """Return the image files in `folder` and its sub-folders, sorted.

    Raises:
        RequestError: as in `scan_folder`.
    """
    return list(scan_folder(folder).images)


def _walk(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return all files below `folder`, and the links to folders that were visited before."""
    files: list[Path] = []
    links_back: list[Path] = []
    visited: set[tuple[int, int]] = set()
    starts = [folder]
    for start in starts:  # links join the list: real folders come first
        for place, folders, names in os.walk(start, onerror=_raise_unreadable):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            status = os.stat(place)  # noqa: PTH116 os.walk gives text
            if (status.st_dev, status.st_ino) in visited:
                links_back.append(Path(place))
                folders.clear()
                continue
            visited.add((status.st_dev, status.st_ino))
            starts += _find_links(Path(place), folders)
            files += [Path(place, name) for name in names if not name.startswith(".")]
    return files, links_back


def _find_links(place: Path, folders: list[str]) -> Iterator[Path]:
    return (place / name for name in folders if (place / name).is_symlink())


def _raise_unreadable(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):  # these hold no images
        raise RequestError(f"{error.filename}: {error.strerror}.", "check its permissions.")


def _counts_as_image(path: Path) -> bool:
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return path.is_file() or not path.exists()  # a broken link is an image that is missing
    # Raw photos, such as .nef and .dng, are TIFF files whose first image is a thumbnail.
    known = identify_format(path) if path.is_file() else None
    return known is not None and (known != "TIFF" or not path.suffix)
