"""Images to calibrate on: read one at a time, and what is wrong with them is told."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vit_export.errors import RequestError
from vit_export.samples import IMAGE_SUFFIXES
from vit_export.vit.preprocess import Preprocessing, load_image, preprocess

Array = npt.NDArray[np.float32]

MOST_UNREADABLE = 0.1
"""Share of files above which a folder is no folder of images."""
NAMED = 3
"""Files that a note names before it only counts."""


@dataclass(eq=False)
class Pictures:
    """The model's inputs of the images in a folder, one after the other."""

    folder: Path
    paths: tuple[Path, ...]
    preprocessing: Preprocessing
    unreadable: list[str] = field(default_factory=list)
    flat: list[str] = field(default_factory=list)
    """Names of images of a single colour."""
    sha256: Any = field(default_factory=hashlib.sha256)

    @classmethod
    def of(cls, folder: Path, preprocessing: Preprocessing | None) -> "Pictures":
        """Those in `folder` and its sub-folders.

        Raises:
            RequestError: there are none, or the model has no preprocessing for them.
        """
        if preprocessing is None:
            message = "The model has no preprocessing for images."
            raise RequestError(message, "leave --calibration out, or tell it: --mean, --std.")
        paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
        if not paths:
            message = f"{folder} holds no images."
            raise RequestError(message, "name a folder of PNG or JPEG files, some dozens of them.")
        return cls(folder, tuple(paths), preprocessing)

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[tuple[str, Array]]:
        """Name and input (C, H, W) of each that can be read.

        Raises:
            RequestError: more than a tenth of them can't be.
        """
        for path in self.paths:
            try:
                image = load_image(path, self.preprocessing.mode)
            except RequestError:
                self.unreadable.append(path.name)
                continue
            made = preprocess(image, self.preprocessing)
            self.sha256.update(made.tobytes())
            if np.ptp(made.reshape(len(made), -1), axis=1).max() == 0:
                self.flat.append(path.name)
            yield path.name, made
        if len(self.unreadable) > MOST_UNREADABLE * len(self.paths):
            message = (
                f"{len(self.unreadable)} of {len(self.paths)} files in {self.folder} can't be "
                f"read: {_named(self.unreadable)}."
            )
            raise RequestError(message, "name a folder of whole images.")

    def notes(self) -> list[str]:
        """What its user should know of it, once all have been read."""
        told = []
        if self.unreadable:
            told.append(f"{len(self.unreadable)} unreadable: {_named(self.unreadable)}")
        if self.flat:
            told.append(f"{len(self.flat)} show one colour and tell no range: {_named(self.flat)}")
        return told


def _named(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
