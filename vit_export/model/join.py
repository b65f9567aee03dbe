"""Several outputs as one row per image, which is how they are compared, timed and stored."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Answering = Callable[[Tensor], Tensor | tuple[Tensor, ...]]
"""A module that answers images with one tensor, or with a tuple of several."""


def answer_joined(module: Answering, images: Tensor) -> Tensor:
    """Return the answers (B, …) of a module to `images`, or (B, S) of one with several outputs."""
    answers = module(images)
    return join_outputs(answers) if isinstance(answers, tuple) else answers


def join_outputs(outputs: Sequence[Tensor]) -> Tensor:
    """Return several outputs (B, …) side by side, (B, S); a single one as it is."""
    if len(outputs) == 1:
        return outputs[0]
    return torch.cat([one.flatten(1) for one in outputs], dim=1)
