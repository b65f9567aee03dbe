"""The interface of an open artifact, whatever runtime it runs in."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from vit_export.artifact.manifest import Manifest
from vit_export.core.errors import MissingError, RequestError, VitExportError
from vit_export.core.numerics import Array

TAKES = "vit-export inspect says which images and batches the artifact takes."
"""What to do after a `RunFailedError`."""


FOREIGN = "give a file that vit-export wrote."
"""What to do about a file of somebody else's."""


NO_MEMORY = ("bad_alloc", "bad allocation", "allocate memory")
"""Words of ONNX Runtime, PyTorch and OpenVINO for a lack of memory."""


class RunFailedError(VitExportError):
    """The runtime opened the artifact but could not run it on these images."""

    exit_code = 4


class NotHereError(MissingError):
    """The artifact is whole and cannot run on this machine.

    `reason` says why in a few words; the message also says which artifact.
    """

    def __init__(self, message: str, fix: str, reason: str) -> None:
        super().__init__(message, fix)
        self.reason = reason


class Session(Protocol):
    """An open artifact."""

    runtime: str
    """Name and version of what runs it."""
    takes_fp16: bool
    """Whether its inputs are in fp16; `run` converts them, so callers need not."""

    def run(self, images: npt.NDArray[Any]) -> Array:
        """Return the answers (B, …) to `images`.

        The images are normalized (B, C, H, W), or pixels (B, H, W, C) in uint8 where the file
        preprocesses by itself. A file that answers the best classes returns (B, k, 2): class and
        score. A file with several other outputs returns them side by side, (B, S).

        Raises:
            RunFailedError: the runtime refuses; the message is its own.
        """
        ...

    def time_ms(self, images: npt.NDArray[Any]) -> float:
        """Return how long one `run` takes in milliseconds.

        On a GPU its own clock measures this, copies of the images and answers included.
        """
        ...

    def matmuls_by_dtype(self) -> Mapping[str, int]:
        """Return the number of matmuls and convolutions by the arithmetic that they run in.

        Empty where the runtime does not report it.
        """
        ...

    def manifest_json(self) -> str | None:
        """Return the manifest that belongs to the file, or None for a foreign file."""
        ...


class Taps(Protocol):
    """An open artifact that also answers what its modules compute."""

    def run(self, image: Array) -> Mapping[str, Array]:
        """Return the outputs (rows, D) of modules by name, for one `image` (C, H, W)."""
        ...


class Values(Protocol):
    """An open artifact that also answers any value of its graph."""

    names: tuple[str, ...]
    """The names of all values, in running order; those of the file's outputs come last."""
    answers: tuple[str, ...]
    """The names of the file's outputs, in order."""

    def run(self, sample: Array, names: Sequence[str]) -> Mapping[str, Array]:
        """Return those of the named values that are of floating point, for one `sample`.

        Raises:
            RunFailedError: the runtime refuses; the message is its own.
        """
        ...


def read_manifest(session: Session, path: Path) -> Manifest:
    """Return the manifest of the artifact that `session` has open from `path`.

    Raises:
        RequestError: it carries none, or one that cannot be read.
    """
    return parse_manifest(session.manifest_json(), path)


def parse_manifest(text: str | None, path: Path) -> Manifest:
    """Return the manifest in the JSON that the file at `path` carries.

    Raises:
        RequestError: it carries none, or one that cannot be read.
    """
    if not text:
        message = f"{path} carries no manifest of vit-export."
        raise RequestError(message, "give a file that vit-export wrote.")
    return Manifest.from_json(text, str(path))


def join_outputs(outputs: Sequence[npt.NDArray[Any]], rows: int) -> Array:
    """Return the outputs of a file, (B, …) each, as one array.

    Several outputs stand side by side in one row per image, (B, S). Classes, which are whole
    numbers, and their scores (B, k) become pairs, (B, k, 2).

    Raises:
        RequestError: an output has not one answer for each of `rows` images.
    """
    if not outputs or not all(one.shape[:1] == (rows,) for one in outputs):
        listing = ", ".join(str(one.shape) for one in outputs) or "nothing"
        raise RequestError(f"The file answers {listing} to {rows} images.", FOREIGN)
    if len(outputs) == 1:
        return np.asarray(outputs[0], np.float32)
    if outputs[0].dtype.kind == "i" and len({one.shape for one in outputs}) == 1:
        return np.asarray(np.stack(outputs, -1), np.float32)
    return np.concatenate([one.reshape(rows, -1).astype(np.float32) for one in outputs], axis=1)


def check_memory(error: Exception) -> None:
    """Raise MemoryError if that is what an exception of a runtime's means."""
    if isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY):
        raise MemoryError from None


def wall_clock_ms(run: Callable[[npt.NDArray[Any]], object], images: npt.NDArray[Any]) -> float:
    """Return the milliseconds that one `run` on `images` takes by this machine's clock."""
    started = time.perf_counter()
    run(images)
    return 1000 * (time.perf_counter() - started)
