"""JSON files beside a checkpoint, which anybody may have written."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vit_export.core.errors import RequestError


@contextmanager
def refuse_foreign_json(path: Path) -> Iterator[None]:
    """Raise RequestError if a JSON file beside the checkpoint has an unexpected structure.

    Anybody may have written such a file, so that any key or type may be wrong.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        message = f"{path}: its JSON files have an unexpected structure ({error!r})."
        raise RequestError(message, "copy them again, or give the weights file alone.") from None
