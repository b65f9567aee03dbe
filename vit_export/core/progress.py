"""Progress of long work: a stage has a name, and lasts as long as its context is open."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

Item = TypeVar("Item")
ReportShare = Callable[[float], None]
"""Takes the share of a stage that is done, from 0 to 1."""
Progress = Callable[[str], AbstractContextManager[ReportShare | None]]
"""Opens a stage. Its context is what shares are reported to, or None if nobody shows them."""


def silent(stage: str) -> AbstractContextManager[None]:  # noqa: ARG001 the signature of Progress
    """Show no progress at all."""
    return nullcontext()


def warn(progress: Progress, sentence: str) -> None:
    """Show a warning where progress is shown; an empty sentence shows nothing."""
    if sentence:
        with progress(f"Warning: {sentence}"):
            pass


def ignore_share(share: float) -> None:
    """Show no share of a stage."""


def track(items: Iterable[Item], total: int, report_share: ReportShare | None) -> Iterator[Item]:
    """Yield the items, and report before each one which share of `total` is done."""
    for number, item in enumerate(items):
        if report_share is not None:
            report_share(number / total)
        yield item
