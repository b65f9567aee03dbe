"""A module whose answer has tensors in it, as a module that answers those tensors."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from vit_export.model.join import join_outputs

Part = tuple[str | int, ...]
"""The way from an answer to a tensor in it: names of fields and positions."""
WHOLE: Part = ()
"""The answer itself."""


class TensorAnswer(nn.Module):
    """A module that answers images with one tensor, or with several side by side.

    Args:
        module: the user's module.
        keyword: the argument that images are; empty for the first one.
        parts: where the tensors are in the module's answer; the empty part is the answer itself.
    """

    def __init__(
        self, module: nn.Module, keyword: str = "", parts: Sequence[Part] = (WHOLE,)
    ) -> None:
        super().__init__()
        self.module = module
        self.keyword = keyword
        self.parts = tuple(parts)

    def forward(self, images: Tensor) -> Tensor:
        """Return the answers (B, …) to `images` (B, C, H, W); several tensors become (B, S)."""
        answer = call(self.module, self.keyword, images)
        return join_outputs([take_part(answer, part) for part in self.parts])


class SeparateAnswer(nn.Module):
    """The same module with a tuple of tensors as its answer, which is what a file has."""

    def __init__(self, joined: TensorAnswer) -> None:
        super().__init__()
        self.module = joined.module
        self.keyword = joined.keyword
        self.parts = joined.parts

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the tensors (B, …) of the answer to `images` (B, C, H, W)."""
        answer = call(self.module, self.keyword, images)
        return tuple(take_part(answer, part) for part in self.parts)


def call(module: nn.Module, keyword: str, images: Tensor) -> Any:
    """Return the answer of a module to images, which are the argument `keyword` or the first."""
    return module(**{keyword: images}) if keyword else module(images)


def take_part(answer: Any, part: Part) -> Any:
    """Return a part of an answer; each word or position of it leads one step further in."""
    for step in part:
        if isinstance(step, str) and not isinstance(answer, Mapping):
            answer = getattr(answer, step)
        else:
            answer = answer[step]
    return answer


def separate(module: nn.Module) -> nn.Module:
    """Return the module whose answer is a tuple, for one that joins several tensors."""
    if isinstance(module, TensorAnswer) and len(module.parts) > 1:
        return SeparateAnswer(module)
    return module
