"""Progress of long work: a stage has a name, and lasts as long as its context is open."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

Item = TypeVar("Item")
ReportShare = Callable[[float], None]
"""Receives the finished share of a stage, from 0 to 1."""
Progress = Callable[[str], AbstractContextManager[ReportShare | None]]
"""Opens a stage by its name. The context yields the callback for shares, or None without one."""


def silent(stage: str) -> AbstractContextManager[None]:  # noqa: ARG001 the signature of Progress
    """Show no progress at all."""
    return nullcontext()


def warn(progress: Progress, sentence: str) -> None:
    """Show a warning where progress is shown; an empty sentence shows nothing."""
    if sentence:
        with progress(f"Warning: {sentence}"):
            pass


def ignore_share(share: float) -> None:
    """Accept a share and do nothing with it."""


def track(items: Iterable[Item], total: int, report_share: ReportShare | None) -> Iterator[Item]:
    """Yield the items; before each one, report the share of `total` that is finished."""
    for number, item in enumerate(items):
        if report_share is not None:
            report_share(number / total)
        yield item
