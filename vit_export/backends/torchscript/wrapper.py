"""The module inside a file: the lowered model with preprocessing before it and a head behind."""

import copy
from typing import cast

import torch
from torch import Tensor, nn

from vit_export.artifact.manifest import Manifest
from vit_export.artifact.outputs import TOP, OutputHead
from vit_export.data.pillow_resize import columns_may_come_first, fold_into_convolution
from vit_export.data.preprocessing import Preprocessing
from vit_export.model.layered import LayeredModule
from vit_export.model.program.lowered import LoweredProgram
from vit_export.model.program.traceable import make_traceable
from vit_export.model.resize import PillowResize
from vit_export.model.vit.lowering import LoweredVit


class InferenceWrapper(nn.Module):
    """A module that answers images as the file has to.

    It answers logits, probabilities, or the best classes and their scores.

    Args:
        before: takes what the file takes, and returns images (B, C, H, W) for `vit`.
        vit: the lowered model.
        head: what stands behind the model.
        classes: number of classes.
    """

    def __init__(self, before: nn.Module, vit: nn.Module, head: OutputHead, classes: int) -> None:
        super().__init__()
        self.best = min(TOP, classes)
        self.before = before
        self.vit = vit
        self.head = head.output_format
        self.function = head.function

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        answer: Tensor = self.vit(self.before(image))  # (B, K)
        if self.head == "logits":
            return answer
        probabilities = answer.softmax(-1) if self.function == "softmax" else answer.sigmoid()
        if self.head != "top5":
            return probabilities
        scores, classes = probabilities.topk(self.best)  # (B, 5)
        return classes, scores


def wrap(lowered: LayeredModule | LoweredProgram, manifest: Manifest) -> nn.Module:
    """Return `lowered` with the preprocessing and the output format that `manifest` names.

    The weights are shared with `lowered`.
    """
    if isinstance(lowered, LoweredProgram):
        return _wrap_program(lowered, manifest)
    preprocessing, classes = manifest.preprocessing, manifest.signature.answer_shape[-1]
    if not manifest.takes_pixels or preprocessing is None:
        if manifest.head == "logits":
            return lowered
        return InferenceWrapper(nn.Identity(), lowered, manifest.output_head, classes)
    first = columns_may_come_first(manifest.versions["pillow"])
    resize = PillowResize(preprocessing, columns_first=first, normalizes=False)
    vit = _fold_normalization(cast("LoweredVit", lowered), preprocessing)
    return InferenceWrapper(resize, vit, manifest.output_head, classes)


def _wrap_program(lowered: LoweredProgram, manifest: Manifest) -> nn.Module:
    """Return the same for any module, whose first layer may not be a convolution."""
    traceable, preprocessing = make_traceable(lowered.program), manifest.preprocessing
    classes = manifest.signature.answer_shape[-1]
    if manifest.takes_pixels and preprocessing is not None:
        first = columns_may_come_first(manifest.versions["pillow"])
        resize = PillowResize(preprocessing, columns_first=first, normalizes=True)
        return InferenceWrapper(resize, traceable, manifest.output_head, classes)
    if manifest.head == "logits":
        return traceable
    return InferenceWrapper(nn.Identity(), traceable, manifest.output_head, classes)


def _fold_normalization(lowered: LoweredVit, preprocessing: Preprocessing) -> LoweredVit:
    """Return a copy whose patch convolution normalizes too; all other modules are shared."""
    plain = cast("nn.Conv2d", lowered.embedding.projection)
    plain_bias = None if plain.bias is None else plain.bias.detach().numpy()
    weight, bias = fold_into_convolution(plain.weight.detach().numpy(), plain_bias, preprocessing)
    side = plain.kernel_size[0]
    convolution = nn.Conv2d(plain.in_channels, plain.out_channels, side, side)
    convolution.weight = nn.Parameter(torch.from_numpy(weight), requires_grad=False)
    convolution.bias = nn.Parameter(torch.from_numpy(bias), requires_grad=False)
    folded, embedding = copy.copy(lowered), copy.copy(lowered.embedding)
    embedding._modules = {**embedding._modules, "projection": convolution}  # noqa: SLF001 copy.copy shares it
    folded._modules = {**folded._modules, "embedding": embedding}  # noqa: SLF001 copy.copy shares it
    return folded
