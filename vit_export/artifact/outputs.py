"""What a file answers: the model's own logits, probabilities, or the five best classes.

The reference is always the logits. `artifact.scores` says what of probabilities is compared.

Logarithms of a softmax over K classes lie around -log K whatever the image is. So their signal is
measured on what is left without their mean over classes. Errors keep that mean: without it, a file
that halves every probability would be right.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vit_export.artifact.scores import (
    Probability,
    align_probabilities,
    compute_probabilities,
    expect_logs,
    recover_logs,
)
from vit_export.core.errors import ProofError
from vit_export.core.numerics import Array, measure_signal
from vit_export.model.score_function import ScoreFunction

OutputFormat = Literal["logits", "softmax", "sigmoid", "top5"]
"""A value of `--head`. A model without classes has only `logits`: its answer as it is."""

TOP = 5
HALF = 0.5
OUTPUT_NAMES = {
    "softmax": ("probabilities",),
    "sigmoid": ("probabilities",),
    "top5": ("classes", "scores"),
}
"""Names of a file's outputs; a file that answers `logits` names them after the model's answer."""


@dataclass(frozen=True)
class OutputHead:
    """What stands behind the model in a file."""

    output_format: OutputFormat = "logits"
    probability: Probability = "softmax"
    """What makes the probabilities of `top5`; the other formats have their own."""

    @property
    def function(self) -> Probability:
        """What makes the probabilities of a file that answers them."""
        return "sigmoid" if self.output_format == "sigmoid" else self.probability


LOGITS = OutputHead()


def infer_output_shape(
    output_format: OutputFormat, answer_shape: tuple[int, ...]
) -> tuple[int, ...]:
    """Shape of a file's answer to one image; `answer_shape` is that of the model.

    For `top5` it is (k, 2): class and probability, the best first.
    """
    return (min(TOP, *answer_shape), 2) if output_format == "top5" else answer_shape


def align_for_comparison(head: OutputHead, logits: Array, answer: Array) -> tuple[Array, Array]:
    """Two arrays that are equal for a correct file: of the reference, and of the file.

    For `top5` they have ten numbers each. The first five compare the probabilities of the classes
    that the file names, the last five its probabilities with the largest ones of the reference.

    Args:
        head: what the file returns.
        logits: the reference's answer to one image.
        answer: the file's answer to the same image.
    """
    if head.output_format == "logits":
        return logits, answer
    expected = expect_logs(head.function, logits)
    if head.output_format != "top5":
        return expected, recover_logs(head.function, answer, expected)
    classes, scores = answer[:, 0], answer[:, 1]
    known = np.isin(classes, np.arange(len(logits))) & (len({*classes.tolist()}) == len(classes))
    expected_of_classes = expected[np.where(known, classes, 0).astype(np.intp)]
    expected_best = -np.sort(-expected)[: len(classes)]
    scores_of_classes = recover_logs(head.function, scores, expected_of_classes)
    return (
        np.concatenate([expected_of_classes, expected_best]),
        np.concatenate(
            [
                np.where(known, scores_of_classes, np.float32(np.nan)),  # no such class: a failure
                recover_logs(head.function, scores, expected_best),
            ]
        ),
    )


def measure_output_signal(head: OutputHead, logits: Iterable[Array]) -> float:
    """The signal of a file's answers, from the reference's `logits` for each sample.

    See `core.numerics.measure_signal`.
    """
    if head.output_format == "logits":
        return measure_signal(logits)
    logs = (expect_logs(head.function, one).astype(np.float64) for one in logits)
    if head.function == "sigmoid":
        return measure_signal(logs)
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


def apply_head(head: OutputHead, logits: Array) -> Array:
    """What a correct file answers to an image for which the model answers `logits`."""
    if head.output_format == "logits":
        return logits
    probabilities = compute_probabilities(head.function, logits)
    if head.output_format != "top5":
        return probabilities
    classes = np.argsort(-probabilities, kind="stable")[:TOP]
    return np.stack([classes, probabilities[classes]], axis=-1).astype(np.float32)


def align_rows(head: OutputHead, alone: Array, answer: Array) -> tuple[Array, Array]:
    """Two arrays that are equal for a correct file: of an image alone, and of it in a batch."""
    if head.output_format == "logits":
        return alone, answer
    if head.output_format == "top5":
        return align_probabilities(head.function, alone[:, 1], answer[:, 1])
    return align_probabilities(head.function, alone, answer)


def find_likely_classes(head: OutputHead, answer: Array) -> set[int]:
    """Classes with a probability of at least 50% by a sigmoid, in the `answer` to one image."""
    if head.output_format == "top5":
        return {int(one) for one, score in answer if score >= HALF}
    threshold = 0 if head.output_format == "logits" else HALF
    return {*np.flatnonzero(answer >= threshold).tolist()}


def read_scores(
    head: OutputHead, function: ScoreFunction, answer: Array
) -> tuple[list[int], list[float]]:
    """Classes and scores in the `answer` to one image.

    The largest score is first, unless `function` is `none`: then all numbers stand in order.

    Args:
        head: what stands behind the model in the file.
        function: what makes scores of logits, if the file answers those.
        answer: the answer, as `infer_output_shape` says.
    """
    if head.output_format == "top5":
        return [int(one) for one in answer[:, 0]], [float(one) for one in answer[:, 1]]
    if function == "none":
        return [*range(len(answer))], [float(one) for one in answer]
    is_logits = head.output_format == "logits"
    scores = compute_probabilities(function, answer) if is_logits else answer
    order = np.argsort(-scores, kind="stable")
    return [int(one) for one in order], [float(scores[one]) for one in order]


def find_top_class(output_format: OutputFormat, answer: Array) -> int:
    """The most probable class in the `answer` to one image."""
    return int(answer[0, 0]) if output_format == "top5" else int(answer.argmax())
