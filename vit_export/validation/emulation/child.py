"""One emulated process: it answers frames, or it is ended with a reason in words."""

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from tempfile import TemporaryFile
from threading import Timer
from typing import IO, Any, Self, cast

import numpy.typing as npt

from vit_export.core.errors import BuildError
from vit_export.validation.emulation.frames import Frame, read_frame, write_frame

KEPT_VARIABLES = ("PATH", "HOME", "TMPDIR", "ORT_DISABLE_TELEMETRY")
"""Variables that an emulated process keeps; others may choose code that its CPU does not have."""
LAST_BYTES = 4000


class EmulatedProcess:
    """A child process that answers one frame with one frame.

    Args:
        name: what runs there, for messages.
        command: the words of its command line.
        timeout_s: seconds that one answer may take.
    """

    def __init__(self, name: str, command: Sequence[str], timeout_s: float) -> None:
        self._name, self._timeout_s, self._late = name, timeout_s, False
        self._stderr = TemporaryFile()  # noqa: SIM115 `__exit__` closes it
        kept = {key: os.environ[key] for key in KEPT_VARIABLES if key in os.environ}
        self._process = subprocess.Popen(  # noqa: S603 the command is ours
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=kept,
        )
        self._requests = cast("IO[bytes]", self._process.stdin)
        self._answers = cast("IO[bytes]", self._process.stdout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._stderr.close()

    def receive(self) -> Frame:
        """Return the next frame.

        Raises:
            BuildError: the process ended without it, or takes too long.
        """
        with self._watch():
            return read_frame(self._answers)

    def ask(self, fields: Mapping[str, Any], arrays: Sequence[npt.NDArray[Any]] = ()) -> Frame:
        """Return the answer to one request.

        Raises:
            BuildError: the process ended without an answer, or takes too long.
        """
        with self._watch():
            write_frame(self._requests, fields, arrays)
        return self.receive()

    @contextmanager
    def _watch(self) -> Iterator[None]:
        """End the process if the block takes too long, and say why it ended if it did."""
        watch = Timer(self._timeout_s, self._end_late)
        watch.start()
        try:
            yield
        except (EOFError, ValueError, BrokenPipeError):
            raise self._explain_end() from None
        finally:
            watch.cancel()

    def _end_late(self) -> None:
        self._late = True
        self._process.kill()

    def _explain_end(self) -> BuildError:
        if self._late:
            message = f"{self._name} gave no answer within {self._timeout_s:g} s."
            return BuildError(message, "prove a smaller model there, or on a faster machine.")
        self._process.kill()
        code = self._process.wait()
        message = f"{self._name} ended with exit code {code}: {self._read_last_line()}"
        return BuildError(message, f"try again; if it ends again, leave {self._name} out of --on.")

    def _read_last_line(self) -> str:
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - LAST_BYTES))
        lines = self._stderr.read().decode(errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip() and ": warning: " not in line]
        return said[-1] if said else "it said nothing"
