"""What the eager model computes on its way to an answer, module by module, and how exactly.

The modules are those whose outputs a lowered graph has too: the embedding, norms, both branches of
each block (behind their layer scale), the blocks themselves, an attention pool, and the head.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from vit_export.core.numerics import Array
from vit_export.model.vit.block import EncoderBlock
from vit_export.model.vit.head import AttentionPool, Head
from vit_export.model.vit.lowering import lower
from vit_export.model.vit.spec import VitSpec
from vit_export.model.vit.vit import PatchEmbedding, Vit
from vit_export.validation.reference import stages_of

WATCHED = (PatchEmbedding, nn.LayerNorm, EncoderBlock, AttentionPool, Head)
BRANCH_SCALES = {"attention_scale": "attention", "mlp_scale": "mlp"}
"""Modules behind a branch, each an identity where there is no scale, and the branch's name."""


@dataclass(frozen=True, eq=False)
class Tap:
    """The output of one module for one image, a row per token."""

    fp32: Array
    """(rows, D): what an artifact is held against."""
    fp64: Array
    """The same in double precision: how exact the reference is."""


@torch.inference_mode()
def taps_of(vit: Vit, image: Array) -> dict[str, Tap]:
    """Outputs of the modules of `vit` for one `image` (C, H, W), by name, in running order."""
    x = torch.from_numpy(image[None])
    exact = x.double()
    found: dict[str, Tensor] = {}
    exactly: dict[str, Tensor] = {}
    for name, stage in stages_of(vit).items():
        promoted = copy.deepcopy(stage).double()  # one at a time, to save memory
        with _recorded(stage, name, found), _recorded(promoted, name, exactly):
            x, exact = stage(x), promoted(exact)
    return {name: Tap(_rows(value), _rows(exactly[name])) for name, value in found.items()}


def modules_of(spec: VitSpec) -> list[str]:
    """The names of those modules in a model of `spec`, in running order."""
    with torch.device("meta"):
        vit = Vit(spec).eval()
        x = torch.empty(1, spec.channels, *spec.image_size)
    found: dict[str, Tensor] = {}
    with torch.no_grad():
        for name, stage in stages_of(vit).items():
            with _recorded(stage, name, found):
                x = stage(x)
    return list(found)


@contextmanager
def _recorded(stage: nn.Module, name: str, found: dict[str, Tensor]) -> Iterator[None]:
    """Inside, outputs of the watched modules of `stage` go to `found`."""
    handles = []
    for inner, module in stage.named_modules(prefix=name):
        path, _, last = inner.rpartition(".")
        branch = BRANCH_SCALES.get(last)
        if branch or isinstance(module, WATCHED):
            key = f"{path}.{branch}" if branch else inner

            def keep(_module: nn.Module, _args: object, out: Tensor, key: str = key) -> None:
                found[key] = out

            handles.append(module.register_forward_hook(keep))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _rows(value: Tensor) -> Array:
    array: Array = value.reshape(-1, value.shape[-1]).numpy()
    return np.ascontiguousarray(array)


def layers_in_order(spec: VitSpec) -> list[str]:
    """The linear layers and norms of the lowered model, in the order in which they run."""
    with torch.device("meta"):
        lowered = lower(Vit(spec).eval())
        image = torch.empty(1, spec.channels, *spec.image_size)
    order: list[str] = []
    for name, module in lowered.named_modules():
        if isinstance(module, nn.Linear | nn.LayerNorm):
            module.register_forward_hook(lambda *_, name=name: order.append(name))
    with torch.no_grad():
        lowered(image)
    return order
