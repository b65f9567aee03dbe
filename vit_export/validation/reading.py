"""Checks that a module in memory computes what was read from its names and attributes.

Names and attributes say what a module should compute, and its own forward says what it does. The
two are compared before any overrides, so that the proof is about the user's module and not about
our reading of it.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from vit_export.core.errors import RequestError
from vit_export.core.numerics import Array, measure_signal
from vit_export.validation.compare import compare
from vit_export.validation.sample_set import SampleSet
from vit_export.validation.samples import choose_recipes, make_samples
from vit_export.validation.tolerances import TOLERANCES

if TYPE_CHECKING:  # torch is heavy, and a bad request is refused without it
    from torch import nn

    from vit_export.model.model import Model

NOISE_FACTOR = 8
"""How many times the noise floor is allowed: the user's kernels sum in another order.

Another activation function is off by thousands of times as much.
"""
ANSWER_ATTRIBUTES = ("logits", "image_embeds", "pooler_output")
"""Attributes that hold the answer, if a module returns several tensors."""


def check_reading(module: "nn.Module", model: "Model") -> None:
    """Raise RequestError unless `module` answers as `model` does, within rounding.

    Args:
        module: the user's own module; a copy of it runs.
        model: what was read from it, before any overrides.
    """
    from vit_export.validation.reference import compute_reference

    recipes = choose_recipes(None)[:2]
    inputs = make_samples(recipes, model.signature.image_shape, None)
    samples = SampleSet(recipes=tuple(recipes), inputs=inputs, file_inputs=inputs)
    expected = compute_reference(model.module, samples)
    signal = measure_signal(expected.answers)
    for answers in _yield_candidates(module, inputs, model.signature.answer_shape):
        rows = zip(expected.answers, answers, expected.floors, strict=True)
        if all(
            compare(
                ours,
                theirs,
                NOISE_FACTOR * floor,
                TOLERANCES["fp32"].without_snr(),
                signal=signal,
                classifies=False,
                sample=model.name,
            ).passed
            for ours, theirs, floor in rows
        ):
            return
    raise RequestError(
        f"{model.name} computes something else than its tensors and attributes say.",
        "if you changed its forward, an activation or the pooling, give a spec and the state dict.",
    )


def _yield_candidates(
    module: "nn.Module", samples: Array, shape: tuple[int, ...]
) -> Iterator[Array]:
    """Yield the tensors that could be the answer, (M, *shape) each, from a copy of the module."""
    import copy

    import torch

    twin = copy.deepcopy(module).float().cpu().eval()
    with torch.inference_mode():
        answer = twin(torch.from_numpy(samples))
    tokens = getattr(answer, "last_hidden_state", None)
    candidates = [answer, *(getattr(answer, name, None) for name in ANSWER_ATTRIBUTES)]
    candidates += [tokens[:, 0]] if tokens is not None else []
    for tensor in candidates:
        if isinstance(tensor, torch.Tensor) and tensor.shape == (len(samples), *shape):
            yield tensor.numpy()
