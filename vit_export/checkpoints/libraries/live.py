"""A module in memory judges itself: its own forward decides whether it was read rightly."""

import copy
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from vit_export.checkpoints.libraries.base import Judge
from vit_export.checkpoints.libraries.transformers import make_answer


def judge_module(module: nn.Module) -> Judge:
    """Return a copy of a module in memory as the judge of what was read from it."""
    twin = copy.deepcopy(module).float().cpu().eval()
    name = type(module).__name__
    return Judge(
        module=twin,
        origin="the module itself",
        name=name,
        is_live=True,
        answer=_choose_answer(twin),
    )


def _choose_answer(module: nn.Module) -> Callable[[Tensor], Any]:
    is_transformers = type(module).__module__.partition(".")[0] == "transformers"
    return make_answer(module) if is_transformers else module
