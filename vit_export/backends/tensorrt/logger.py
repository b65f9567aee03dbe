"""TensorRT returns None when it fails and tells its logger why: this logger keeps the reason."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def make_logger(library: Any) -> Any:
    """Return a logger of `library` (tensorrt or tensorrt_rtx) that keeps errors and warnings.

    Its `errors` and `warnings` are lists of text.
    """
    levels = library.ILogger.Severity

    class Logger(library.ILogger):  # type: ignore[misc]
        """Prints nothing itself."""

        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []
            self.warnings: list[str] = []

        def log(self, severity: Any, text: str) -> None:
            """Keep a message. The library calls this from any thread."""
            if severity in {levels.INTERNAL_ERROR, levels.ERROR}:
                self.errors.append(text)
            elif severity == levels.WARNING:
                self.warnings.append(text)

    return Logger()


def last_error(logger: Any) -> str:
    """Return the last error in one line, without the place in the library's source."""
    error = logger.errors[-1] if logger.errors else "it does not say why"
    return str(error).partition("\n")[0].partition(" In ")[0].partition(" (In ")[0].strip(" .;")


@contextmanager
def hold_garbage() -> Iterator[None]:
    """Collect no garbage inside. Whatever makes objects of TensorRT has to run in here.

    TensorRT logs while it holds the lock under which its objects are made and destroyed. Python
    code that runs then may start the collector; the destructor of a builder that the collector
    finds would wait for that lock for ever.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
