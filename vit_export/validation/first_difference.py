"""The first part of a model whose output differs from that of its judge, beyond rounding."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vit_export.checkpoints.libraries.base import Judge
from vit_export.core.numerics import Array, measure_signal
from vit_export.model.vit.vit import Vit
from vit_export.validation.compare import compare
from vit_export.validation.tolerances import TOLERANCES

HEAD = "the head (its norm, pooling or classifier)"
EMBEDDING = "the embedding (patches, positions, or what stands before the blocks)"
NOISE_FACTOR = 8
"""As in `reading`."""


@torch.inference_mode()
def find_first_difference(judge: Judge, vit: Vit, inputs: Array) -> str:
    """Return the first part that differs, in words: the embedding, a block, or the head.

    Args:
        judge: a module that answers something else than `vit`.
        vit: the model as it was read.
        inputs: images (M, C, H, W).
    """
    images = torch.from_numpy(inputs)
    ours = _record([*vit.blocks], lambda: vit(images))
    exact_vit = copy.deepcopy(vit).double()
    exact = _record([*exact_vit.blocks], lambda: exact_vit(images.double()))
    for blocks in _list_stacks(judge.module, vit.spec.depth):
        theirs = _record(blocks, lambda: judge.answer(images))
        if len(theirs) == len(ours):
            return _name_first(ours, exact, theirs)
    return "it"


def _name_first(ours: Sequence[Tensor], exact: Sequence[Tensor], theirs: Sequence[Tensor]) -> str:
    for position, tensors in enumerate(zip(ours, exact, theirs, strict=True)):
        if not _are_equal(*(tensor.double().numpy() for tensor in tensors)):
            return f"block {position - 1}" if position else EMBEDDING
    return HEAD


def _are_equal(ours: Array, exact: Array, theirs: Array) -> bool:
    """Return whether two outputs (M, N, D) are the same within rounding."""
    if ours.shape != theirs.shape:
        return False
    floor = float(np.abs(ours - exact).max())
    comparison = compare(
        ours,
        theirs,
        NOISE_FACTOR * floor,
        TOLERANCES["fp32"].without_snr(),
        signal=measure_signal(ours),
        classifies=False,
        sample="",
    )
    return comparison.passed


def _list_stacks(module: nn.Module, depth: int) -> Iterator[list[nn.Module]]:
    """Yield every list of `depth` modules of one class inside a module: its blocks may be any."""
    for stack in module.modules():
        children = [*stack.children()]
        is_stack = isinstance(stack, nn.ModuleList | nn.Sequential) and len(children) == depth
        if is_stack and len({type(one) for one in children}) == 1:
            yield children


def _record(blocks: Sequence[nn.Module], run: Callable[[], Any]) -> list[Tensor]:
    """Return the input of the first block and the outputs of all, while `run` runs."""
    tensors: list[Tensor] = []

    def keep_input(_block: nn.Module, args: Any, kwargs: Any) -> None:
        tensors.append(_take_tensor([*args, *kwargs.values()]))

    def keep_output(_block: nn.Module, _args: Any, output: Any) -> None:
        tensors.append(_take_tensor(output if isinstance(output, tuple) else [output]))

    with ExitStack() as stack:
        handles = [blocks[0].register_forward_pre_hook(keep_input, with_kwargs=True)]
        handles += [block.register_forward_hook(keep_output) for block in blocks]
        for handle in handles:
            stack.callback(handle.remove)
        run()
    return tensors


def _take_tensor(values: Sequence[Any]) -> Tensor:
    return next(value for value in values if isinstance(value, Tensor)).detach().clone()
