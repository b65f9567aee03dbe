"""Checks that a judge computes what was read: the library's own model, or a module in memory.

Names, shapes and attributes say what a model should compute, and its own forward says what it does.
The two are compared before any overrides, so that the proof is about the user's model and not about
our reading of it.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from vit_export.core.errors import RequestError
from vit_export.core.numerics import Array, measure_signal
from vit_export.validation.compare import compare
from vit_export.validation.sample_set import SampleSet
from vit_export.validation.samples import choose_recipes, make_samples
from vit_export.validation.tolerances import TOLERANCES

if TYPE_CHECKING:  # torch is heavy, and a bad request is refused without it
    from torch import Tensor

    from vit_export.artifact.reference import Reference
    from vit_export.checkpoints.libraries.base import Judge
    from vit_export.model.model import Model

NOISE_FACTOR = 8
"""How many times the noise floor is allowed: other kernels sum in another order.

Another activation function is off by thousands of times as much.
"""
EMBEDDINGS = ("image_embeds", "pooler_output")
"""Attributes that may hold the answer of a model without a classifier."""
OWN_HEAD = "its head, which the library does not have"


class ReadingError(RequestError):
    """A checkpoint was read as another model than the one it holds."""


def check_reading(judge: "Judge", model: "Model") -> str:
    """Raise ReadingError unless a judge answers as `model` does, within rounding.

    Args:
        judge: the library's own model, or the user's module.
        model: what was read, before any overrides.

    Returns:
        What of the model the judge has no answer for, in words; empty if it confirms everything.
    """
    from vit_export.validation.first_difference import HEAD, find_first_difference
    from vit_export.validation.reading_advice import advise
    from vit_export.validation.reference import compute_reference

    samples = _make_samples(model)
    expected = compute_reference(model.module, samples)
    answer = _run(judge, samples.inputs)
    if getattr(answer, "feature_maps", None) is not None:
        message = (
            f"{judge.name} answers feature maps of several blocks, which is not supported yet."
        )
        raise ReadingError(message, "export the base model of these weights in its place.")
    if any(_agrees(expected, answers) for answers in _list_candidates(answer, model)):
        return ""
    place = find_first_difference(judge, model.vit, samples.inputs)
    if place == HEAD and judge.missing and judge.unexpected:
        return OWN_HEAD
    message = f"{model.name} was read as another model than {judge.name} of {judge.origin}"
    if judge.is_live:
        message = f"{judge.name} computes something else than its tensors and attributes say"
    differs = f"{place} answers something else{_describe_missing(judge)}"
    raise ReadingError(f"{message}: {differs}.", advise(judge, model))


def _make_samples(model: "Model") -> SampleSet:
    """Return two samples of different kinds, of the trained size."""
    first, *_, last = choose_recipes(None)
    inputs = make_samples([first, last], model.signature.image_shape, None)
    return SampleSet(recipes=(first, last), inputs=inputs, file_inputs=inputs)


def _run(judge: "Judge", inputs: Array) -> Any:
    """Return what the judge answers to images (M, C, H, W).

    Raises:
        RequestError: it does not take them.
    """
    import torch

    try:
        with torch.inference_mode():
            return judge.answer(torch.from_numpy(inputs))
    except Exception as error:  # noqa: BLE001 code of others may fail in any way
        channels, height, width = inputs.shape[1:]
        origin = "" if judge.is_live else f" of {judge.origin}"
        message = f"{judge.name}{origin} does not answer images of "
        message += f"{channels}x{height}x{width} ({type(error).__name__}: {error})."
        fix = "give --trained-size HxW as it was trained, or --check off."
        if judge.is_live:
            fix = "give the part of it that answers images alone."
        raise RequestError(message, fix) from None


def _list_candidates(answer: Any, model: "Model") -> Iterator[Array]:
    """Yield the tensors that could be the answer, (M, *answer_shape) each.

    Logits are the only answer of a model that has them. Without them it is an embedding, or the
    tokens as the model pools them.
    """
    import torch

    for tensor in _list_tensors(answer, model):
        if isinstance(tensor, torch.Tensor) and tensor.shape[1:] == model.signature.answer_shape:
            yield tensor.float().numpy()


def _list_tensors(answer: Any, model: "Model") -> "Iterator[Tensor | None]":
    import torch

    logits = getattr(answer, "logits", None)
    if isinstance(answer, torch.Tensor) or logits is not None:
        yield answer if logits is None else logits
        return
    yield from (getattr(answer, name, None) for name in EMBEDDINGS)
    tokens = getattr(answer, "last_hidden_state", None)
    if isinstance(tokens, torch.Tensor) and tokens.ndim == 3:  # noqa: PLR2004 (M, N, D)
        yield tokens if model.vit.spec.pool == "map" else model.vit.head.pool(tokens)


def _agrees(expected: "Reference", answers: Array) -> bool:
    """Return whether every answer equals the expected one, within rounding."""
    rows = zip(expected.answers, answers, expected.floors, strict=True)
    signal = measure_signal(expected.answers)
    return all(
        compare(
            ours,
            theirs,
            NOISE_FACTOR * floor,
            TOLERANCES["fp32"].without_snr(),
            signal=signal,
            classifies=False,
            sample="",
        ).passed
        for ours, theirs, floor in rows
    )


def _describe_missing(judge: "Judge") -> str:
    """Return a clause about tensors that the judge has and the checkpoint lacks, if any."""
    if not judge.missing:
        return ""
    more = f" and {len(judge.missing) - 1} more" if len(judge.missing) > 1 else ""
    return f", and the checkpoint lacks {judge.missing[0]}{more}"
