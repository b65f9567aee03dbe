"""The eager model's answers to the samples of a proof, and the noise floor of those answers."""

import copy
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from vit_export.artifact.reference import Reference
from vit_export.model.opaque import OpaqueModule
from vit_export.model.program.exact import make_exact
from vit_export.model.segments import split_into_segments
from vit_export.model.signature import Signature
from vit_export.model.threads import use_one_thread
from vit_export.validation.sample_set import SampleSet
from vit_export.validation.samples import digest


@torch.inference_mode()
@use_one_thread()
def compute_reference(
    module: nn.Module, samples: SampleSet, signature: Signature | None = None
) -> Reference:
    """Return the answers of `module`, in fp32 and eval mode, to each input alone.

    They are computed in one thread, so that every machine writes the same digits into a manifest.
    The noise floor of an answer is its largest |fp32 - fp64|. Digests are those of the file's
    inputs, which `validate` makes again.

    Args:
        module: the eager model.
        samples: the inputs.
        signature: the model's outputs, each of which has a floor; None for a single output.
    """
    inputs = torch.from_numpy(samples.inputs)
    answers = np.concatenate([module(image).numpy() for image in _split(inputs)])
    exact = _answer_in_fp64(module, inputs).numpy()
    errors = np.abs(answers - exact)
    parts = [part for _, part in signature.split(errors)] if signature is not None else [errors]
    output_floors = [_find_largest(part) for part in parts]
    return Reference(
        recipes=samples.recipes,
        digests=tuple(digest(one) for one in samples.file_inputs),
        answers=answers,
        floors=_find_largest(errors),
        output_floors=tuple(output_floors) if len(parts) > 1 else (),
    )


def _find_largest(errors: npt.NDArray[Any]) -> tuple[float, ...]:
    """Return the largest error of each sample."""
    return tuple(float(one) for one in errors.reshape(len(errors), -1).max(axis=1))


def _answer_in_fp64(module: nn.Module, x: Tensor) -> Tensor:
    """Return the answers in fp64; one segment is promoted at a time, to save memory."""
    if isinstance(module, OpaqueModule):
        return torch.cat([module.answer_exactly(image) for image in _split(x.double())])
    segments = split_into_segments(module)
    exact = make_exact(module, tuple(x.shape[1:])) if len(segments) == 1 else None
    x = x.double()
    if exact is not None:
        return torch.cat([exact(image) for image in _split(x)])
    for segment in segments.values():
        promoted = copy.deepcopy(segment).double()
        x = torch.cat([promoted(image) for image in _split(x)])
    return x


def _split(x: Tensor) -> tuple[Tensor, ...]:
    """Return each image as a batch of one."""
    return torch.split(x, 1)
