"""A process of its own that runs commands on damaged files.

A reader in C or C++ may end its process. So commands run in a child, and a child that dies, hangs
or raises is a result like any other: `Ended.problem` says which.
"""

import json
import re
import resource
import select
import subprocess
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

LIMIT_SECONDS = 60
"""The longest command; a tiny model needs less than one second."""
LIMIT_BYTES = 16 << 30
"""Address space of the child: the libraries map 6 GB before any work."""
DOCUMENTED = {0, 2, 3, 4}
"""Exit codes of a damaged file; 1 is right only where it asks for too much memory."""
PYTHON_WARNING = re.compile(r"\.py:\d+: \w*Warning: ")


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    """Its exit code; -1 if it did not end by itself."""
    stdout: str
    stderr: str
    crash: str = ""
    """A traceback, the signal that killed it, or that it took too long."""

    @property
    def problem(self) -> str:
        """What is wrong with this end; empty if it is one that the documentation knows."""
        starts = [line.partition(": ")[0] for line in self.stderr.splitlines()]
        if self.crash:
            return self.crash
        if self.code not in DOCUMENTED and "Error: out of memory." not in self.stderr:
            return f"exit {self.code}: {self.stderr}"
        if self.code and (starts.count("Error"), starts.count("Fix")) != (1, 1):
            return f"exit {self.code} without an error and its fix: {self.stderr}"
        if PYTHON_WARNING.search(self.stderr) or "\x1b[2J" in self.stdout + self.stderr:
            return f"a warning of a library, or a control character: {self.stderr}"
        return ""


class Child:
    """A process that runs commands one after the other, and starts again after a crash."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()  # a process that has torch takes a second to end by itself
        self._end()

    def run(self, words: Sequence[object], folder: Path) -> Ended:
        process = self._start() if self._process is None else self._process
        request = {"words": [str(word) for word in words], "folder": str(folder)}
        try:
            process.stdin.write(f"{json.dumps(request)}\n")
            process.stdin.flush()
            ready, _, _ = select.select([process.stdout], [], [], LIMIT_SECONDS)
            line = process.stdout.readline() if ready else ""
        except BrokenPipeError:
            ready, line = True, ""
        if line:
            return Ended(**json.loads(line))
        reason = f"ended with {self._end()}" if ready else f"ran for over {LIMIT_SECONDS} s"
        return Ended(-1, "", "", f"the process {reason}")

    def _start(self) -> "subprocess.Popen[str]":
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        return self._process

    def _end(self) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.stdin.close()
        try:
            return process.wait(1)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()
        finally:
            process.stdout.close()


def serve() -> None:
    """Answer each line of stdin, a command, with a line that says how it ended."""
    from in_process import run_here

    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with open(1, "w", closefd=False, encoding="utf-8") as out:
        for line in sys.stdin:
            request = json.loads(line)
            try:
                done = run_here(request["words"], {"COLUMNS": "200"}, request["folder"])
                answer = {"code": done.returncode, "stdout": done.stdout, "stderr": done.stderr}
            except BaseException:  # noqa: BLE001 whatever it is, the test names it
                answer = {"code": -1, "stdout": "", "stderr": "", "crash": traceback.format_exc()}
            out.write(f"{json.dumps(answer)}\n")
            out.flush()


if __name__ == "__main__":
    serve()
