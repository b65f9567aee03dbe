"""Tools of ONNX Runtime print advice and add handlers of logs: here they do neither."""

import contextlib
import io
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Silence ONNX Runtime's tools on stdout and in the root logger.

    Their first log call also adds a handler to the root logger, which is removed again.
    """
    root = logging.getLogger()
    handlers, disabled = root.handlers[:], root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(disabled)
        root.handlers[:] = handlers
