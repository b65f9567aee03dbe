"""The eager model's answers to the samples of a proof, and the noise floor of those answers."""

import copy

import numpy as np
import torch
from torch import Tensor, nn

from vit_export.artifact.reference import Reference
from vit_export.model.program.exact import make_exact
from vit_export.model.segments import split_into_segments
from vit_export.model.threads import use_one_thread
from vit_export.validation.sample_set import SampleSet
from vit_export.validation.samples import digest


@torch.inference_mode()
@use_one_thread()
def compute_reference(module: nn.Module, samples: SampleSet) -> Reference:
    """Return the answers of `module`, in fp32 and eval mode, to each input alone.

    They are computed in one thread, so that every machine writes the same digits into a manifest.
    The noise floor of an answer is its largest |fp32 - fp64|. Digests are those of the file's
    inputs, which `validate` makes again.
    """
    inputs = torch.from_numpy(samples.inputs)
    answers = np.concatenate([module(image).numpy() for image in _split(inputs)])
    exact = _answer_in_fp64(module, inputs).numpy()
    floors = np.abs(answers - exact).reshape(len(answers), -1).max(axis=1)
    return Reference(
        recipes=samples.recipes,
        digests=tuple(digest(one) for one in samples.file_inputs),
        answers=answers,
        floors=tuple(float(floor) for floor in floors),
    )


def _answer_in_fp64(module: nn.Module, x: Tensor) -> Tensor:
    """Return the answers in fp64; one segment is promoted at a time, to save memory."""
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
