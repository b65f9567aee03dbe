"""What a module of the zoo is: how it is built, what it takes, and whether it can be exported."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

CLASSES = 100


@dataclass(frozen=True, kw_only=True)
class ZooModule:
    """One small module with random weights."""

    create: Callable[[], nn.Module]
    shape: tuple[int, ...] = (3, 224, 224)
    """Shape of one input, without the batch."""
    refusal: str = ""
    """Regular expression of the true cause, if no file takes any batch and is right."""
