"""What TensorRT says, kept: it answers None when it fails, and tells the reason to its logger."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def log_of(library: Any) -> Any:
    """A logger of `library` (tensorrt or tensorrt_rtx) that keeps errors and warnings.

    Its `errors` and `warnings` are lists of text.
    """
    levels = library.ILogger.Severity

    class Log(library.ILogger):  # type: ignore[misc]
        """Says nothing by itself."""

        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []
            self.warnings: list[str] = []

        def log(self, severity: Any, text: str) -> None:
            """Called by the library, from any thread."""
            if severity in {levels.INTERNAL_ERROR, levels.ERROR}:
                self.errors.append(text)
            elif severity == levels.WARNING:
                self.warnings.append(text)

    return Log()


def last_error(log: Any) -> str:
    """The last thing that went wrong, in a line and without the place in the library's source."""
    told = log.errors[-1] if log.errors else "it does not say why"
    return str(told).partition("\n")[0].partition(" In ")[0].partition(" (In ")[0].strip(" .;")


@contextmanager
def uncollected() -> Iterator[None]:
    """Inside, no garbage is collected: for whatever makes objects of TensorRT.

    It logs while it holds the lock under which its objects are made and destroyed. What runs in
    Python then may set off the collector, and the destructor of a builder that is found there would
    wait for that lock for ever.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
