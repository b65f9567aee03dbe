"""A PyTorch module on NumPy arrays."""

from typing import TYPE_CHECKING

from vit_export.core.numerics import Array

if TYPE_CHECKING:  # torch is heavy, and artifacts are opened without it
    from collections.abc import Callable

    from torch import Tensor


def run_module(module: "Callable[[Tensor], Tensor]", images: Array) -> Array:
    """Return the answers (B, …) of `module` to `images` (B, C, H, W), without gradients."""
    import torch

    with torch.inference_mode():
        answers: Array = module(torch.from_numpy(images)).numpy()
    return answers
