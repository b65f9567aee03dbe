"""The fp64 twin of any module, which shows how far the rounding of fp32 moves its answers."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from vit_export.model.program.export import export_program
from vit_export.model.program.promote import promote


def make_exact(module: nn.Module, sample_shape: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
    """Return the function from one image in fp64 (1, …) to the module's answer in fp64.

    Args:
        module: a module in fp32 and in evaluation mode, which does not change.
        sample_shape: shape of one sample, without the batch.

    Raises:
        RequestError: neither `double()` nor a program of the module computes in fp64.
    """
    with torch.inference_mode(mode=False):
        return _make_exact(module, sample_shape)


def _make_exact(module: nn.Module, sample_shape: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
    twin = copy.deepcopy(module).double()
    try:
        with torch.no_grad():
            is_exact = twin(torch.zeros(1, *sample_shape).double()).dtype is torch.float64
    except Exception:  # noqa: BLE001 code of others may fail in any way where it names fp32
        is_exact = False
    if is_exact:
        return twin
    return promote(export_program(module, sample_shape, 1, type(module).__name__))
