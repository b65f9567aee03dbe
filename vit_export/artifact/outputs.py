"""What a file answers: the model's own logits, their probabilities, or the five best classes.

The reference is always the logits. The proof compares probabilities as logarithms: a softmax
subtracts one number from all logits of an image, so logarithms are as far off as the logits are.
Probabilities themselves would hide errors, since nearly all of them are next to zero.

Logarithms of K probabilities lie around -log K whatever the image is. So their signal is measured
on what is left without their mean over classes. Errors keep that mean: without it, a file that
halves every probability would be right.
"""

from collections.abc import Iterable
from typing import Literal

import numpy as np

from vit_export.core.errors import ProofError
from vit_export.core.numerics import Array, log_softmax, measure_signal

OutputFormat = Literal["logits", "softmax", "top5"]
"""A value of `--head`. A model without classes has only `logits`: its answer as it is."""

TOP = 5
MIN_LOG = -80.0
"""Smallest logarithm of a probability that is compared; smaller ones are raised to it."""
OUTPUT_NAMES = {"softmax": ("probabilities",), "top5": ("classes", "scores")}
"""Names of a file's outputs; a file that answers `logits` names them after the model's answer."""


def infer_output_shape(
    output_format: OutputFormat, answer_shape: tuple[int, ...]
) -> tuple[int, ...]:
    """Shape of a file's answer to one image; `answer_shape` is that of the model.

    For `top5` it is (k, 2): class and probability, the best first.
    """
    return (min(TOP, *answer_shape), 2) if output_format == "top5" else answer_shape


def align_for_comparison(
    output_format: OutputFormat, logits: Array, answer: Array
) -> tuple[Array, Array]:
    """Two arrays that are equal for a correct file: of the reference, and of the file.

    For `top5` they have ten numbers each. The first five compare the probabilities of the classes
    that the file names, the last five its probabilities with the largest ones of the reference.

    Args:
        output_format: what the file returns.
        logits: the reference's answer to one image.
        answer: the file's answer to the same image.
    """
    if output_format == "logits":
        return logits, answer
    expected = np.maximum(log_softmax(logits), MIN_LOG)
    if output_format == "softmax":
        return expected, _log(answer)
    classes, scores = answer[:, 0], _log(answer[:, 1])
    known = np.isin(classes, np.arange(len(logits))) & (len({*classes.tolist()}) == len(classes))
    expected_of_classes = expected[np.where(known, classes, 0).astype(np.intp)]
    expected_best = -np.sort(-expected)[: len(classes)]
    scores_of_classes = np.where(known, scores, np.float32(np.nan))  # no such class: a failure
    return (
        np.concatenate([expected_of_classes, expected_best]),
        np.concatenate([scores_of_classes, scores]),
    )


def measure_output_signal(output_format: OutputFormat, logits: Iterable[Array]) -> float:
    """The signal of a file's answers, from the reference's `logits` for each sample.

    See `core.numerics.measure_signal`.
    """
    if output_format == "logits":
        return measure_signal(logits)
    logs = (np.maximum(log_softmax(one), MIN_LOG).astype(np.float64) for one in logits)
    return measure_signal(one - one.mean() for one in logs)


def check_answer_shape(name: str, answer: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Raise ProofError unless the answer to one image has the `expected` shape.

    Args:
        name: the file, for errors.
        answer: shape of its answer.
        expected: the shape that its manifest says.
    """
    if answer != expected:
        message = f"{name} answers {answer}, and its manifest says {expected}."
        raise ProofError(message, "export the model again.")


def apply_head(output_format: OutputFormat, logits: Array) -> Array:
    """What a correct file answers to an image for which the model answers `logits`."""
    if output_format == "logits":
        return logits
    probabilities: Array = np.exp(log_softmax(logits))
    if output_format == "softmax":
        return probabilities
    classes = np.argsort(-probabilities, kind="stable")[:TOP]
    return np.stack([classes, probabilities[classes]], axis=-1).astype(np.float32)


def align_rows(output_format: OutputFormat, alone: Array, answer: Array) -> tuple[Array, Array]:
    """Two arrays that are equal for a correct file: of an image alone, and of it in a batch."""
    if output_format == "logits":
        return alone, answer
    if output_format == "softmax":
        return _log(alone), _log(answer)
    return _log(alone[:, 1]), _log(answer[:, 1])


def find_top_class(output_format: OutputFormat, answer: Array) -> int:
    """The most probable class in the `answer` to one image."""
    return int(answer[0, 0]) if output_format == "top5" else int(answer.argmax())


def rank_classes(output_format: OutputFormat, answer: Array) -> tuple[list[int], list[float]]:
    """Classes and probabilities in the `answer` to one image, the most probable first."""
    if output_format == "top5":
        return [int(one) for one in answer[:, 0]], [float(one) for one in answer[:, 1]]
    exact = answer.astype(np.float64)
    probabilities = exact if output_format == "softmax" else np.exp(log_softmax(exact))
    order = np.argsort(-probabilities, kind="stable")
    return [int(one) for one in order], [float(probabilities[one]) for one in order]


def _log(probabilities: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):  # a negative one becomes NaN: a failure
        logs: Array = np.maximum(np.log(probabilities), np.float32(MIN_LOG))
    return logs
