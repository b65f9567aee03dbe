"""The eager model's answers to the proof's samples, and its own noise floor."""

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from vit_export.artifact.reference import Reference
from vit_export.core.numerics import Array
from vit_export.model.vit.vit import Vit
from vit_export.validation.sample_set import Inputs
from vit_export.validation.samples import digest


@torch.inference_mode()
def reference_of(
    vit: Vit,
    recipes: Sequence[str],
    samples: Array,
    fed: Inputs | None = None,
) -> Reference:
    """Answers to `samples` (M, C, H, W), each image alone, with |fp32 - fp64| for each.

    `fed` is what the file is given of them, where that is something else.
    """
    answers = np.concatenate([vit(image).numpy() for image in _alone(torch.from_numpy(samples))])
    exact = _in_fp64(vit, torch.from_numpy(samples)).numpy()
    floors = np.abs(answers - exact).reshape(len(answers), -1).max(axis=1)
    return Reference(
        recipes=tuple(recipes),
        digests=tuple(digest(one) for one in (samples if fed is None else fed)),
        answers=answers,
        floors=tuple(float(floor) for floor in floors),
    )


def _in_fp64(vit: Vit, x: Tensor) -> Tensor:
    """The same answers in double precision; one block is promoted at a time, to save memory."""
    x = x.double()
    for stage in stages_of(vit).values():
        promoted = copy.deepcopy(stage).double()
        x = torch.cat([promoted(image) for image in _alone(x)])
    return x


def stages_of(vit: Vit) -> dict[str, nn.Module]:
    """The modules that an image goes through one after the other, under their names."""
    blocks = {f"blocks.{i}": block for i, block in enumerate(vit.blocks)}
    return {
        "embedding": vit.embedding,
        "embedding_norm": vit.embedding_norm,
        **blocks,
        "head": vit.head,
    }


def _alone(x: Tensor) -> tuple[Tensor, ...]:
    """Each image as a batch of one."""
    return torch.split(x, 1)
