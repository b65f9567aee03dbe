"""The functions of a backend that open a file in a way of their own."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from vit_export.backends.records import FileInterface, ModuleNames
from vit_export.backends.session import Session, Taps, Values

OpenTaps = Callable[[Path, ModuleNames, int | None], Taps]
"""Opens a file so that the named modules answer too; the number is that of threads, or None."""
OpenOutputs = Callable[[Path, int | None, Sequence[str]], tuple[Session, FileInterface]]
"""Opens a file of any tool with that many threads, so that it answers the named outputs, or all of
them; it also returns the inputs and outputs of the file."""
OpenValues = Callable[[Path, Collection[str] | None, int | None], Values]
"""Opens a file so that the named values of its graph answer too, or all of them."""
