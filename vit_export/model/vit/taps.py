"""Intermediate values of the eager ViT, module by module, in fp32 and in fp64.

A tap is the output of a module that a lowered graph has too: the embedding, norms, both branches of
each block (behind their layer scale), the blocks themselves, an attention pool, and the head.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from vit_export.core.numerics import Array
from vit_export.model.segments import split_into_segments
from vit_export.model.taps import Tap
from vit_export.model.vit.block import EncoderBlock
from vit_export.model.vit.head import AttentionPool, Head
from vit_export.model.vit.lowering import lower
from vit_export.model.vit.lowering.last_block import MEANS
from vit_export.model.vit.spec import VitSpec
from vit_export.model.vit.vit import PatchEmbedding, Vit

WATCHED = (PatchEmbedding, nn.LayerNorm, EncoderBlock, AttentionPool, Head)
BRANCH_SCALES = {"attention_scale": "attention", "mlp_scale": "mlp"}
"""Name of the layer scale behind a branch to the name of the branch; it may be an identity."""
BRANCH_NORMS = ("attention_norm", "attention.norm", "mlp_norm", "mlp.norm")
"""Norms in front of a branch of a block and inside it, by the ends of their names."""


@torch.inference_mode()
def record_taps(vit: Vit, image: Array) -> dict[str, Tap]:
    """Outputs of the modules of `vit` for one `image` (C, H, W), by name, in running order."""
    x = torch.from_numpy(image[None])
    exact = x.double()
    outputs: dict[str, Tensor] = {}
    exact_outputs: dict[str, Tensor] = {}
    for name, segment in split_into_segments(vit).items():
        promoted = copy.deepcopy(segment).double()  # one at a time, to save memory
        with _record(segment, name, outputs), _record(promoted, name, exact_outputs):
            x, exact = segment(x), promoted(exact)
    outputs |= name_outputs(vit.spec, x)
    exact_outputs |= name_outputs(vit.spec, exact)
    return {
        name: Tap(_to_rows(value), _to_rows(exact_outputs[name])) for name, value in outputs.items()
    }


@torch.inference_mode()
def record_fp32_taps(vit: Vit, image: Array) -> dict[str, Array]:
    """As `record_taps`, in fp32 alone: the outputs (rows, D) by name."""
    outputs: dict[str, Tensor] = {}
    x = torch.from_numpy(image[None])
    for name, segment in split_into_segments(vit).items():
        with _record(segment, name, outputs):
            x = segment(x)
    outputs |= name_outputs(vit.spec, x)
    return {name: _to_rows(value) for name, value in outputs.items()}


def name_outputs(spec: VitSpec, answer: Tensor) -> dict[str, Tensor]:
    """The named outputs in an answer (1, …); a single one is called `head`, as that of a head."""
    if not spec.outputs:
        return {}
    if len(spec.outputs) == 1:
        return {"head": answer}
    parts = spec.signature.split(answer.numpy())
    return {output.name: torch.from_numpy(part) for output, part in parts}


def list_taps(spec: VitSpec) -> list[str]:
    """The names of all taps of a model of `spec`, in running order."""
    with torch.device("meta"):
        vit = Vit(spec).eval()
        x = torch.empty(1, spec.channels, *spec.image_size)
    outputs: dict[str, Tensor] = {}
    with torch.no_grad():
        for name, segment in split_into_segments(vit).items():
            with _record(segment, name, outputs):
                x = segment(x)
    return list(outputs)


def list_lowered_layers(spec: VitSpec) -> list[str]:
    """The names of the lowered model's linear layers and norms, in running order."""
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


@contextmanager
def _record(segment: nn.Module, name: str, outputs: dict[str, Tensor]) -> Iterator[None]:
    """While open, store the outputs of the tapped modules of `segment` in `outputs`, by name."""
    handles = []
    for inner, module in segment.named_modules(prefix=name):
        path, _, last = inner.rpartition(".")
        branch = BRANCH_SCALES.get(last)
        if branch or isinstance(module, WATCHED):
            key = f"{path}.{branch}" if branch else inner

            def keep(_module: nn.Module, _args: object, out: Tensor, key: str = key) -> None:
                outputs[key] = out

            handles.append(module.register_forward_hook(keep))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _to_rows(value: Tensor) -> Array:
    array: Array = value.reshape(-1, value.shape[-1]).numpy()
    return np.ascontiguousarray(array)


def select_rows(rows: Array, count: int, spec: VitSpec) -> Array:
    """The `count` rows of an output (rows, D) that the lowered module returns.

    The lowered last block computes only the tokens that the head looks at, or their mean
    (`model/vit/lowering/last_block.py`).
    """
    if count == 1 < len(rows) and spec.pool in MEANS:
        first = spec.prefix_tokens if spec.pool == "patch_mean" else 0
        mean: Array = rows[first:].mean(axis=0, keepdims=True)
        return mean
    return rows[:count]
