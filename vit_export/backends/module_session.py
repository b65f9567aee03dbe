"""A PyTorch module as a session: what proves the stages between the model and the file."""

from typing import TYPE_CHECKING

from vit_export.core.numerics import Array

if TYPE_CHECKING:  # torch is heavy, and artifacts are opened without it
    from collections.abc import Callable

    from torch import Tensor


class ModuleSession:
    """A module in memory, in eager PyTorch."""

    def __init__(self, module: "Callable[[Tensor], Tensor]") -> None:
        self._module = module
        self.runtime = "eager PyTorch"

    def run(self, images: Array) -> Array:
        """Answers (B, …) to images (B, C, H, W)."""
        import torch

        with torch.inference_mode():
            answers: Array = self._module(torch.from_numpy(images)).numpy()
        return answers

    def manifest_json(self) -> str | None:
        """None: a module carries no manifest."""
        return None
