"""A PyTorch module as a session, so that it is proven and timed as an artifact is."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from vit_export.backends.session import wall_clock_ms
from vit_export.core.numerics import Array

if TYPE_CHECKING:  # torch is heavy, and artifacts are opened without it
    from collections.abc import Callable

    from torch import Tensor

    Answer = Tensor | tuple[Tensor, ...]


class ModuleSession:
    """A module in memory, in eager PyTorch."""

    runtime = "eager PyTorch"
    takes_fp16 = False

    def __init__(self, module: "Callable[[Tensor], Answer]") -> None:
        self._module = module

    def run(self, images: Array) -> Array:
        """Return the answers (B, …) to `images` (B, C, H, W)."""
        import torch

        from vit_export.model.join import answer_joined

        with torch.inference_mode():
            answers: Array = answer_joined(self._module, torch.from_numpy(images)).numpy()
        return answers

    def time_ms(self, images: Array) -> float:
        """Return the milliseconds of one `run` by this machine's clock."""
        return wall_clock_ms(self.run, images)

    def matmuls_by_dtype(self) -> Mapping[str, int]:
        """Return an empty mapping: PyTorch does not report it."""
        return {}

    def manifest_json(self) -> str | None:
        """Return None: a module carries no manifest."""
        return None
