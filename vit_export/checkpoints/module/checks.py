"""Checks of a module before anything is built from it: each failure has its true cause in words.

A model that draws random numbers, couples the images of a batch or writes to itself has no answer
that a file could be compared with.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vit_export.checkpoints.module.answer import find_keyword, find_parts
from vit_export.core.errors import RequestError
from vit_export.core.frames import describe_error
from vit_export.model.program.answer import WHOLE, SeparateAnswer, TensorAnswer, call
from vit_export.model.program.export import ONE_IMAGE, takes_one_image
from vit_export.model.signature import IMAGE_AXES

IMAGES = 3
"""Number of different images in the batch that is compared with each of them alone."""
MAX_SHARE = 1e-3
"""Most that a row of a batch may differ from the image alone, as a share of the largest answer.

Kernels round differently for other batch sizes, by a thousandth of this.
"""
SEED = 20


def check_module(
    module: nn.Module,
    sample_shape: tuple[int, ...],
    batch_size: int | None,
    name: str,
    outputs: Sequence[str] | None = None,
) -> tuple[nn.Module, dict[str, Tensor]]:
    """Return the module that answers one tensor, and its outputs for one image (1, …).

    Several outputs stand side by side in the answer of the module. One that the user did not name
    has an empty name.

    Args:
        module: a module in fp32, on the CPU and in evaluation mode.
        sample_shape: shape of one sample, (C, H, W) of an image.
        batch_size: the only size of a batch; None for any size.
        name: the module's name, for errors.
        outputs: the parts of its answer that the user names; None for the tensor that counts.

    Raises:
        RequestError: it takes no such image or several inputs, answers no or several tensors,
            another batch axis, other numbers for the same image, or numbers that depend on the
            batch, or writes to itself.
    """
    images = _draw_images(sample_shape)
    keyword = find_keyword(module, name)
    before = _list_versions(module)
    answer = _run(_Whole(module, keyword), images[:1], name)
    parts = find_parts(answer, outputs, name)
    joined = TensorAnswer(module, keyword, tuple(parts.values()))
    plain = module if not keyword and joined.parts == (WHOLE,) else joined
    separate = dict(zip(parts, _run(SeparateAnswer(joined), images[:1], name), strict=True))
    for output in separate.values():
        _check_axis(output, 1, name)
    first = _run(plain, images[:1], name)
    _check_repeats(first, _run(plain, images[:1], name), name)
    _check_repeats(first, _run(copy.deepcopy(plain), images[:1], name), name)
    if batch_size != 1:
        for output in _run(SeparateAnswer(joined), images, name):
            _check_axis(output, len(images), name)
        _check_rows(plain, images, first, name)
    _check_versions(module, before, name)
    if not first.isfinite().all():
        message = f"{name} answers numbers that are not finite to an image of noise."
        raise RequestError(message, "check its weights, and --input or --image-size.")
    return plain, separate


class _Whole(nn.Module):
    """A module that answers images with whatever it answers."""

    def __init__(self, module: nn.Module, keyword: str) -> None:
        super().__init__()
        self.module, self.keyword = module, keyword

    def forward(self, images: Tensor) -> Any:
        return call(self.module, self.keyword, images)


def _draw_images(sample_shape: tuple[int, ...]) -> Tensor:
    generator = torch.Generator().manual_seed(SEED)
    return torch.randn(IMAGES, *sample_shape, generator=generator)


def _run(module: nn.Module, images: Tensor, name: str) -> Any:
    try:
        with torch.no_grad():
            return module(images)
    except Exception as error:  # noqa: BLE001 code of others may fail in any way
        if _takes_integers(module, images):
            message = f"{name} takes integers, and a file takes numbers of fp32."
            fix = "name a module that takes what comes after their embedding."
            raise RequestError(message, fix) from None
        shape = "x".join(map(str, images.shape[1:]))
        message = f"{name} does not answer {_count(images)} of {shape}: "
        fix = "give the shape that it was built for: --input CxHxW or --image-size HxW."
        fix = fix if len(images) == 1 else _advise_alone(module, images)
        raise RequestError(f"{message}{describe_error(error)}.", fix) from None


def _takes_integers(module: nn.Module, samples: Tensor) -> bool:
    """Return whether a module that failed on floating point answers integers."""
    try:
        with torch.no_grad():
            module(torch.zeros_like(samples, dtype=torch.int64))
    except Exception:  # noqa: BLE001 code of others may fail in any way
        return False
    return True


def _count(samples: Tensor) -> str:
    """Return the number of samples in words: `3 images`."""
    noun = "image" if samples.ndim == IMAGE_AXES + 1 else "sample"
    return f"{len(samples)} {noun}{'s' * (len(samples) > 1)}"


def _advise_alone(module: nn.Module, images: Tensor) -> str:
    """Return what works for a module that does not treat the images of a batch alone."""
    rewrite = "let its forward treat each image alone."
    return f"{ONE_IMAGE}, or {rewrite}" if takes_one_image(module, images.shape[1:]) else rewrite


def _check_axis(answer: Tensor, count: int, name: str) -> None:
    """Raise RequestError unless the first axis of an answer counts images."""
    if not answer.ndim or answer.shape[0] != count:
        message = f"{name} answers {count} image{'s' * (count > 1)} with a tensor "
        message += f"{tuple(answer.shape)}, whose first axis is not the batch."
        raise RequestError(message, "let its forward return the batch first: (B, …).")
    if answer.numel() == 0:
        message = f"{name} answers an empty tensor {tuple(answer.shape)}."
        raise RequestError(message, "let its forward return numbers.")


def _check_repeats(first: Tensor, second: Tensor, name: str) -> None:
    """Raise RequestError unless two answers to the same image are the same to the last bit."""
    if first.shape == second.shape and torch.equal(first.nan_to_num(), second.nan_to_num()):
        return
    message = f"{name} answers the same image differently each time"
    if first.shape == second.shape:
        message += f", by up to {float((first - second).abs().max()):.2g}"
    fix = "take the random numbers, or what it remembers of earlier images, out of its forward."
    raise RequestError(f"{message}.", fix)


def _check_rows(module: nn.Module, images: Tensor, first: Tensor, name: str) -> None:
    """Raise RequestError unless each row of a batch is the answer to that image alone."""
    together = _run(module, images, name)
    _check_axis(together, len(images), name)
    alone = torch.cat([first, *(_run(module, image[None], name) for image in images[1:])])
    if together.shape != alone.shape:
        message = f"{name} answers a batch of {len(images)} images with {tuple(together.shape)}, "
        message += f"and each of them alone with {tuple(first.shape)}."
        raise RequestError(message, "let its forward return one row for each image.")
    difference = float((together - alone).abs().max())
    if difference > MAX_SHARE * float(alone.abs().max()):
        message = f"{name} answers an image in a batch differently than alone, by {difference:.2g}:"
        message += " its answer depends on the other images."
        raise RequestError(message, _advise_alone(module, images))


def _list_versions(module: nn.Module) -> dict[str, tuple[int, int]]:
    """Return which tensors a module holds, and how often each was written to."""
    tensors = (*module.named_parameters(), *module.named_buffers())
    return {key: (id(one), one._version) for key, one in tensors}  # noqa: SLF001 no public way


def _check_versions(module: nn.Module, before: dict[str, tuple[int, int]], name: str) -> None:
    """Raise RequestError if a tensor of the module is another one now, or was written to."""
    after = _list_versions(module)
    changed = [key for key in after if before.get(key) != after[key]]
    if changed:
        message = f"{name} writes to itself while it answers: {changed[0]}."
        raise RequestError(message, "let its forward leave its parameters and buffers alone.")
