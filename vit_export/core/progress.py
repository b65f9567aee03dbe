"""How long work tells where it is: a stage has a name and lasts while its context is open."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

Item = TypeVar("Item")
Tell = Callable[[float], None]
"""Says how much of a stage is done, from 0 to 1."""
Progress = Callable[[str], AbstractContextManager[Tell | None]]
"""Opens a stage; one that can show its share hands out how to tell it."""


def silent(stage: str) -> AbstractContextManager[None]:  # noqa: ARG001 the signature of Progress
    """No progress at all."""
    return nullcontext()


def warn(progress: Progress, sentence: str) -> None:
    """Says `sentence` where progress is shown, before long work; nothing where it is empty."""
    if sentence:
        with progress(f"Warning: {sentence}"):
            pass


def unheard(share: float) -> None:
    """Where nobody shows the share of a stage."""


def counted(items: Iterable[Item], total: int, tell: Tell | None) -> Iterator[Item]:
    """`items`, before each of which the share of `total` that is done is told."""
    for number, item in enumerate(items):
        if tell is not None:
            tell(number / total)
        yield item
