"""Images to calibrate on: read one at a time, and what is wrong with them is told."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vit_export.errors import RequestError
from vit_export.image_files import Array, find_images, read_input
from vit_export.image_set import MOST_UNREADABLE
from vit_export.judgement import Skipped
from vit_export.vit.preprocess import Preprocessing


@dataclass(eq=False)
class Pictures:
    """The model's inputs of the images in a folder, one after the other."""

    folder: Path
    paths: tuple[Path, ...]
    steps: Preprocessing
    samples: Sequence[tuple[str, Array]]
    """Seen first: what the proof will ask must not lie outside of all ranges."""
    unreadable: list[Path] = field(default_factory=list)
    flat: list[Path] = field(default_factory=list)
    """Images of a single colour."""
    sha256: Any = field(default_factory=hashlib.sha256)
    """Over all inputs."""

    @classmethod
    def of(
        cls, folder: Path, steps: Preprocessing | None, samples: Sequence[tuple[str, Array]]
    ) -> "Pictures":
        """Those in `folder` and its sub-folders, after `samples`.

        Raises:
            RequestError: there are none, or the model has no preprocessing for them.
        """
        if steps is None:
            message = "The model has no preprocessing for images."
            raise RequestError(message, "leave --calibration out, or tell it: --mean, --std.")
        return cls(folder, tuple(find_images(folder)), steps, samples)

    def __len__(self) -> int:
        return len(self.samples) + len(self.paths)

    def __iter__(self) -> Iterator[tuple[str, Array]]:
        """Name and input (C, H, W) of each that can be read.

        Raises:
            RequestError: more than a tenth of them can't be.
        """
        yield from self.samples
        for path in self.paths:
            try:
                made = read_input(path, self.steps)
            except RequestError:
                self.unreadable.append(path)
                continue
            self.sha256.update(made.tobytes())
            if not np.ptp(made.reshape(len(made), -1), axis=1).any():
                self.flat.append(path)
            yield path.relative_to(self.folder).as_posix(), made
        if len(self.unreadable) > MOST_UNREADABLE * len(self.paths):
            message = f"{len(self.unreadable)} of {len(self.paths)} files can't be read as images"
            raise RequestError(f"{self.folder}: {message}.", "name a folder of whole images.")

    def notes(self) -> list[str]:
        """What its user should know of it, once all have been read."""
        told = (("can't be read", self.unreadable), ("show one colour", self.flat))
        skipped = [(what, Skipped.of(paths, self.folder)) for what, paths in told if paths]
        return [f"{s.count} of {len(self.paths)} {what} ({s.named})" for what, s in skipped]
