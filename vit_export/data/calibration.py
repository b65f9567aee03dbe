"""Images to calibrate on: read one at a time, and what is wrong with them is told."""

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
from vit_export.data.dataset import MOST_UNREADABLE
from vit_export.data.images import find_images, read_input
from vit_export.data.preprocessing import Preprocessing
from vit_export.validation.metrics import Skipped


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
                self._check_readable()
                continue
            if not np.ptp(made.reshape(len(made), -1), axis=1).any():
                self.flat.append(path)
            yield self._name(path), made

    def _check_readable(self) -> None:
        if len(self.unreadable) > MOST_UNREADABLE * len(self.paths):
            skipped = Skipped.of(self.unreadable, self.folder)
            message = f"{self.folder}: more than a tenth of {len(self.paths)} files can't be read"
            raise RequestError(f"{message} ({skipped.named}).", "name a folder of whole images.")

    @cached_property
    def digest(self) -> str:
        """A SHA-256 over the files as they lie there, the steps and the samples."""
        found = hashlib.sha256(repr((self.steps.to_mapping(), len(self.samples))).encode())
        for _, made in self.samples:
            found.update(made.tobytes())
        for path in self.paths:
            found.update(self._name(path).encode())
            with suppress(OSError), path.open("rb") as file:
                found.update(hashlib.file_digest(file, "sha256").digest())
        return found.hexdigest()

    def spread(self, most: int) -> list[Array]:
        """At most `most` inputs (C, H, W) of what could be read, from all over the folder."""
        readable = [path for path in self.paths if path not in set(self.unreadable)]
        return [read_input(path, self.steps) for path in readable[:: -(-len(readable) // most)]]

    def told(self) -> dict[str, Any]:
        """What reading them found out, in plain values."""
        lists = {"unreadable": self.unreadable, "flat": self.flat}
        return {word: [str(p.relative_to(self.folder)) for p in one] for word, one in lists.items()}

    def retell(self, told: Mapping[str, Any]) -> None:
        """As if they had been read, when `told` is what was found out then."""
        self.unreadable = [self.folder / name for name in told["unreadable"]]
        self.flat = [self.folder / name for name in told["flat"]]

    def notes(self) -> list[str]:
        """What its user should know of it, once all have been read."""
        told = (("can't be read", self.unreadable), ("show one colour", self.flat))
        skipped = [(what, Skipped.of(paths, self.folder)) for what, paths in told if paths]
        return [f"{s.count} of {len(self.paths)} {what} ({s.named})" for what, s in skipped]

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()
