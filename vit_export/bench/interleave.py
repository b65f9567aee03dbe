"""Contestants that take turns: each in its own process, which stands still when it is not its turn.

A runtime's threads spin for a while after they worked, and slow whoever comes next. So an idle
process is stopped (SIGSTOP), and goes on (SIGCONT) for its burst: it runs with the settings that
its users run, and disturbs nobody.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from vit_export.bench.candidates import Contestant
from vit_export.core.errors import BuildError
from vit_export.core.numerics import Array

BURST_MS = 400
"""How long the timed calls of one burst last, about: short models get more calls."""
LEAST_CALLS, MOST_CALLS = 3, 40
UNTIMED_CALLS = 2


class Worker:
    """A process that has one contestant open."""

    def __init__(self, contestant: Contestant) -> None:
        self.contestant = contestant
        self._process = subprocess.Popen(
            [sys.executable, "-m", "vit_export.bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        told = self._ask(contestant.to_mapping())
        self.load_ms: float = told["load_ms"]
        self.version: str = told["version"]
        self.peak_bytes = 0
        self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.communicate()

    def burst(self, shape: Sequence[int], calls: int) -> list[float]:
        """Milliseconds of each of `calls` on images of `shape`, after untimed ones."""
        self._process.send_signal(signal.SIGCONT)
        told = self._ask({"shape": list(shape), "untimed": UNTIMED_CALLS, "calls": calls})
        self._stop()
        self.peak_bytes = told["peak_bytes"]
        times: list[float] = told["ms"]
        return times

    def answers(self, samples: Array, folder: Path) -> Array:
        """What it answers to the first image of each batch of `samples` (M, B, C, H, W)."""
        files = folder / "samples.npy", folder / "answers.npy"
        np.save(files[0], samples)
        self._process.send_signal(signal.SIGCONT)
        self._ask({"samples": str(files[0]), "answers": str(files[1])})
        self._stop()
        answers: Array = np.load(files[1])
        return answers

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The reply to `request`.

        Raises:
            BuildError: the contestant could not be opened or run.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        line = ""
        if stdin is not None and stdout is not None:
            try:
                stdin.write(json.dumps(request) + "\n")
                stdin.flush()
                line = stdout.readline()
            except BrokenPipeError:
                line = ""
        told: dict[str, Any] = json.loads(line) if line else {"error": "its process ended"}
        if "error" in told:
            self.close()
            message = f"{self.contestant.name} can't take part: {told['error']}."
            raise BuildError(message, "leave it out of --against, or see that it runs by itself.")
        return told

    def _stop(self) -> None:
        self._process.send_signal(signal.SIGSTOP)


def interleaved(
    turns: Sequence[tuple[Worker, Sequence[int]]], rounds: int, burst_ms: float = BURST_MS
) -> list[list[list[float]]]:
    """Milliseconds by worker, round and call: bursts on images of its shape, again and again."""
    first = [min(worker.burst(shape, LEAST_CALLS)) for worker, shape in turns]
    calls = [min(max(round(burst_ms / ms), LEAST_CALLS), MOST_CALLS) for ms in first]
    times: list[list[list[float]]] = [[] for _ in turns]
    for _ in range(rounds):
        for (worker, shape), count, found in zip(turns, calls, times, strict=True):
            found.append(worker.burst(shape, count))
    return times
