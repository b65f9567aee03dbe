"""Calibration images, read one at a time, with a record of those that are unreadable or uniform."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vit_export.core.errors import RequestError
from vit_export.core.numerics import Array
from vit_export.data.dataset import MAX_UNREADABLE
from vit_export.data.image_folder import SkippedImages, scan_folder
from vit_export.data.images import read_input
from vit_export.data.preprocessing import Preprocessing, check_reads_files


@dataclass(eq=False)
class CalibrationImages:
    """The model inputs of the proof's samples and then of the images in a folder, one at a time."""

    folder: Path
    paths: tuple[Path, ...]
    preprocessing: Preprocessing
    samples: Sequence[tuple[str, Array]]
    """Samples of the proof, which come first: the calibrated ranges have to cover them."""
    not_images: tuple[Path, ...] = ()
    """Files of the folder that are no images."""
    unreadable: list[Path] = field(default_factory=list)
    uniform: list[Path] = field(default_factory=list)
    """Images of a single colour."""

    @classmethod
    def find(
        cls, folder: Path, preprocessing: Preprocessing | None, samples: Sequence[tuple[str, Array]]
    ) -> "CalibrationImages":
        """Return the images in `folder` and its sub-folders, to be read after `samples`.

        Raises:
            RequestError: there are no images, or the model has no preprocessing for them.
        """
        if preprocessing is None:
            message = "The model has no preprocessing for images."
            raise RequestError(message, "leave --calibration out, or give --mean and --std.")
        check_reads_files(preprocessing, "leave --calibration out.")
        content = scan_folder(folder)
        return cls(folder, content.images, preprocessing, samples, content.not_images)

    def __len__(self) -> int:
        return len(self.samples) + len(self.paths)

    def __iter__(self) -> Iterator[tuple[str, Array]]:
        """Yield name and input (C, H, W) of each sample and each readable image.

        Raises:
            RequestError: more than a tenth of the images can't be read.
        """
        yield from self.samples
        for path in self.paths:
            try:
                image = read_input(path, self.preprocessing)
            except RequestError:
                self.unreadable.append(path)
                self._check_readable()
                continue
            if not np.ptp(image.reshape(len(image), -1), axis=1).any():
                self.uniform.append(path)
            yield self._name(path), image

    def _check_readable(self) -> None:
        """Raise RequestError unless most images could be read so far."""
        if len(self.unreadable) > MAX_UNREADABLE * len(self.paths):
            skipped = SkippedImages.from_paths(self.unreadable, self.folder)
            message = f"{self.folder}: more than a tenth of {len(self.paths)} files can't be read"
            raise RequestError(f"{message} ({skipped.names}).", "name a folder of whole images.")

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the files, their names, the preprocessing and the samples."""
        preprocessing = self.preprocessing.to_mapping()
        digest = hashlib.sha256(repr((preprocessing, len(self.samples))).encode())
        for _, sample in self.samples:
            digest.update(sample.tobytes())
        for path in self.paths:
            digest.update(self._name(path).encode())
            with suppress(OSError), path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()

    def pick(self, count: int) -> list[Array]:
        """Return at most `count` inputs (C, H, W) of readable images from all over the folder."""
        readable = [path for path in self.paths if path not in set(self.unreadable)]
        step = -(-len(readable) // count)
        return [read_input(path, self.preprocessing) for path in readable[::step]]

    def findings(self) -> dict[str, Any]:
        """Return the names of unreadable and uniform images; all images have to be read before."""
        lists = {"unreadable": self.unreadable, "flat": self.uniform}
        return {key: [self._name(path) for path in paths] for key, paths in lists.items()}

    def restore(self, findings: Mapping[str, Any]) -> None:
        """Take over the `findings` of an earlier run on these images, in place of reading them."""
        self.unreadable = [self.folder / name for name in findings["unreadable"]]
        self.uniform = [self.folder / name for name in findings["flat"]]

    def notes(self) -> list[str]:
        """Return a phrase for each kind of bad file; all images have to be read before."""
        count = len(self.paths)
        problems = (
            (f"{len(self.unreadable)} of {count} can't be read", self.unreadable),
            (f"{len(self.uniform)} of {count} show one colour", self.uniform),
            (f"{len(self.not_images)} other files are no images", self.not_images),
        )
        return [
            f"{problem} ({SkippedImages.from_paths(paths, self.folder).names})"
            for problem, paths in problems
            if paths
        ]

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()
