"""Candidates run in alternating bursts, each in its own process, suspended between bursts.

The threads of a runtime spin for a while after their work and slow down whatever runs next.
Therefore SIGSTOP suspends a process after its burst, and SIGCONT resumes it for the next one. Each
candidate keeps the settings that its users run, and none disturbs another.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from vit_export.backends.session import RunFailedError
from vit_export.bench.candidates import Candidate
from vit_export.core.errors import BuildError, RequestError
from vit_export.core.numerics import Array

BURST_MS = 400
"""Approximate duration of the timed calls of one burst: a fast model gets more calls."""
MIN_CALLS, MAX_CALLS = 3, 40
WARMUP_CALLS = 2


class Worker:
    """A process in which one candidate is open.

    Raises:
        BuildError: the candidate can't be opened.
        RequestError: its file is damaged or foreign.
    """

    def __init__(self, candidate: Candidate) -> None:
        self.candidate = candidate
        self._process = subprocess.Popen(
            # -P: whatever lies in the current folder is not imported
            [sys.executable, "-P", "-m", "vit_export.bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        reply = self._request(candidate.to_mapping())
        self.load_ms: float = reply["load_ms"]
        self.version: str = reply["version"]
        self.peak_bytes = 0
        self._suspend()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def time_burst(self, shape: Sequence[int], calls: int) -> list[float]:
        """Return the milliseconds of each of `calls` on inputs of `shape`, after a warm-up.

        Raises:
            BuildError: the candidate fails, or its process has ended.
        """
        self._resume()
        reply = self._request({"shape": list(shape), "warmup": WARMUP_CALLS, "calls": calls})
        self._suspend()
        self.peak_bytes = reply["peak_bytes"]
        times_ms: list[float] = reply["ms"]
        return times_ms

    def answer(self, samples: Array, folder: Path) -> Array:
        """Return the answers to the first image of each batch of `samples` (M, B, C, H, W).

        Arrays travel to and from the process as files in `folder`.

        Raises:
            BuildError: the candidate fails, or its process has ended.
            RequestError: its file is foreign.
            RunFailedError: its runtime refuses to run its file.
        """
        samples_file, answers_file = folder / "samples.npy", folder / "answers.npy"
        np.save(samples_file, samples)
        self._resume()
        self._request({"samples": str(samples_file), "answers": str(answers_file)})
        self._suspend()
        answers: Array = np.load(answers_file)
        return answers

    def _request(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send `request` and return the reply; a failure closes the process."""
        reply: dict[str, Any]
        line = self._exchange(json.dumps(request))
        reply = json.loads(line) if line else {"error": "its process ended"}
        if "error" in reply:
            self.close()
            message = f"{self.candidate.name} can't take part: {reply['error'].rstrip('.')}."
            if "fix" in reply:  # it is the file that is wrong
                refused = reply["exit_code"] == RunFailedError.exit_code
                raise (RunFailedError if refused else RequestError)(message, reply["fix"])
            raise BuildError(message, "leave it out of --against, or check that it runs by itself.")
        return reply

    def _exchange(self, line: str) -> str:
        """Write a line to the process and read one; it is empty if the process has ended."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            return ""
        try:
            stdin.write(f"{line}\n")
            stdin.flush()
            return stdout.readline()
        except BrokenPipeError:
            return ""

    def _suspend(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def _resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)


def time_interleaved(
    turns: Sequence[tuple[Worker, Sequence[int]]], rounds: int, burst_ms: float = BURST_MS
) -> list[list[list[float]]]:
    """Run one burst per worker and round, and return milliseconds by worker, round and call.

    Args:
        turns: each worker with the shape of its input.
        rounds: number of bursts per worker.
        burst_ms: approximate duration of the timed calls of a burst.

    Raises:
        BuildError: a candidate fails, or its process has ended.
    """
    first_ms = [min(worker.time_burst(shape, MIN_CALLS)) for worker, shape in turns]
    calls = [min(max(round(burst_ms / ms), MIN_CALLS), MAX_CALLS) for ms in first_ms]
    times_ms: list[list[list[float]]] = [[] for _ in turns]
    for _ in range(rounds):
        for (worker, shape), count, bursts in zip(turns, calls, times_ms, strict=True):
            bursts.append(worker.time_burst(shape, count))
    return times_ms
