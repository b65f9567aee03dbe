"""What stands behind the model in a file: nothing, a softmax, or that and the best five classes.

The reference is the logits, whatever a file answers. Probabilities are held against them in their
logarithms: a softmax takes but a constant from the logits, so the proof stays as sharp as it is.
"""

from typing import Literal

import numpy as np

from vit_export.core.numerics import Array, log_softmax

Head = Literal["logits", "softmax", "top5"]

TOP = 5
LEAST_LOG = -80.0
"""Of a probability: what is below rounds to nothing in fp32."""
OUTPUTS = {"softmax": ("probabilities",), "top5": ("classes", "scores")}
"""Names of a file's outputs; with `logits` it is what the model answers."""


def shape_of(head: str, answer_shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a session's answer to one image: of the best classes (k, 2), class and score."""
    return (min(TOP, *answer_shape), 2) if head == "top5" else answer_shape


def held(head: str, logits: Array, answer: Array) -> tuple[Array, Array]:
    """What has to be alike of eager's `logits` and a file's `answer`: expected and found.

    Of the best classes that is twice as many numbers: how probable those are that it names, and
    how probable the best ones are.
    """
    if head == "logits":
        return logits, answer
    expected = np.maximum(log_softmax(logits), LEAST_LOG)
    if head == "softmax":
        return expected, _log(answer)
    classes, scores = answer[:, 0], _log(answer[:, 1])
    known = np.isin(classes, np.arange(len(logits))) & (len({*classes.tolist()}) == len(classes))
    named = expected[np.where(known, classes, 0).astype(np.intp)]
    best = -np.sort(-expected)[: len(classes)]
    found = np.where(known, scores, np.float32(np.nan))  # a class that is none is no answer
    return np.concatenate([named, best]), np.concatenate([found, scores])


def like_rows(head: str, alone: Array, answer: Array) -> tuple[Array, Array]:
    """What has to be alike of a file's answers to one image alone and in a batch."""
    if head == "logits":
        return alone, answer
    if head == "softmax":
        return _log(alone), _log(answer)
    return _log(alone[:, 1]), _log(answer[:, 1])


def top_class(head: str, answer: Array) -> int:
    """The class that `answer` puts first."""
    return int(answer[0, 0]) if head == "top5" else int(answer.argmax())


def ranked(head: str, answer: Array) -> tuple[list[int], list[float]]:
    """Classes and their probabilities, the best first."""
    if head == "top5":
        return [int(one) for one in answer[:, 0]], [float(one) for one in answer[:, 1]]
    exact = answer.astype(np.float64)
    probabilities = exact if head == "softmax" else np.exp(log_softmax(exact))
    order = np.argsort(-probabilities, kind="stable")
    return [int(one) for one in order], [float(probabilities[one]) for one in order]


def _log(probabilities: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):  # a negative one becomes NaN: a failure
        found: Array = np.maximum(np.log(probabilities), np.float32(LEAST_LOG))
    return found
