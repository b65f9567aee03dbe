"""The lowered model with what stands before and behind it in a file, as one module."""

import copy
from typing import cast

import torch
from torch import Tensor, nn

from vit_export.artifact.manifest import Manifest
from vit_export.artifact.outputs import TOP
from vit_export.data.pillow_resize import columns_may_come_first, fold_into_convolution
from vit_export.data.preprocessing import Preprocessing
from vit_export.model.resize import PillowResize
from vit_export.model.vit.lowering import LoweredVit


class InferenceWrapper(nn.Module):
    """Images to what a file answers: logits, probabilities, or classes and their scores."""

    def __init__(self, before: nn.Module, vit: nn.Module, head: str, answers: int) -> None:
        super().__init__()
        self.best = min(TOP, answers)
        self.before = before
        self.vit = vit
        self.head = head

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        answer: Tensor = self.vit(self.before(image))
        if self.head == "logits":
            return answer
        probabilities = answer.softmax(-1)
        if self.head == "softmax":
            return probabilities
        scores, classes = probabilities.topk(self.best)
        return classes, scores


def wrap(lowered: LoweredVit, manifest: Manifest) -> nn.Module:
    """`lowered`, whose weights it shares, with what `manifest` says before and behind it."""
    steps, answers = manifest.preprocessing, manifest.signature.answer_shape[-1]
    if not manifest.takes_pixels or steps is None:
        if manifest.head == "logits":
            return lowered
        return InferenceWrapper(nn.Identity(), lowered, manifest.head, answers)
    first = columns_may_come_first(manifest.versions["pillow"])
    pixels = PillowResize(steps, columns_first=first, normalizes=False)
    return InferenceWrapper(pixels, _for_levels(lowered, steps), manifest.head, answers)


def _for_levels(lowered: LoweredVit, steps: Preprocessing) -> LoweredVit:
    """A copy whose patch convolution normalizes too; all other modules are shared."""
    former = cast("nn.Conv2d", lowered.embedding.projection)
    bias = None if former.bias is None else former.bias.detach().numpy()
    weight, moved = fold_into_convolution(former.weight.detach().numpy(), bias, steps)
    side = former.kernel_size[0]
    convolution = nn.Conv2d(former.in_channels, former.out_channels, side, side)
    convolution.weight = nn.Parameter(torch.from_numpy(weight), requires_grad=False)
    convolution.bias = nn.Parameter(torch.from_numpy(moved), requires_grad=False)
    twin, embedding = copy.copy(lowered), copy.copy(lowered.embedding)
    embedding._modules = {**embedding._modules, "projection": convolution}  # noqa: SLF001 copy.copy shares it
    twin._modules = {**twin._modules, "embedding": embedding}  # noqa: SLF001 copy.copy shares it
    return twin
