"""Errors that the package raises on purpose, each with the exit code of the command line.

    VitExportError
    ├── BuildError       1    attempted and failed: full disk, no permission, a compiler refused
    ├── RequestError     2    the request makes no sense: unknown names, foreign files, misfits
    ├── MissingError     3    this machine lacks something: package, tool, GPU, driver
    └── ProofError       4    the artifact runs and its numbers are not the model's

Ctrl-C ends with 130 and needs no class. Any folder raises these; only `cli/errors.py` prints them.
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

MAX_NAMES = 40


class VitExportError(Exception):
    """What is wrong and where (`message`), and what to do about it (`fix`)."""

    exit_code = 1
    details: Mapping[str, Any] = {}
    """Further fields of the document that `--json` prints."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.message}\nFix: {self.fix}"


class BuildError(VitExportError):
    """The work was attempted and failed."""

    exit_code = 1


class RequestError(VitExportError):
    """The request makes no sense; nothing was attempted."""

    exit_code = 2


class MissingError(VitExportError):
    """This machine lacks something that the request needs."""

    exit_code = 3


class ProofError(VitExportError):
    """The artifact's answers are not the model's, or it is not what was asked for."""

    exit_code = 4


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence that names the closest of `known`, or lists them when none is close.

    A long list is cut after the first forty names.
    """
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {close[0]!r}?"
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return f"Known: {', '.join(names[:MAX_NAMES])}{more}."
