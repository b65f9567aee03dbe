"""What turns logits into scores: softmax, sigmoid, or nothing."""

from typing import Literal

from vit_export.model.signature import ProblemType, Signature

ScoreFunction = Literal["softmax", "sigmoid", "none"]
"""softmax: the probabilities of all classes sum to 1. sigmoid: each class has a probability of its
own. none: logits are the answer, such as an age in years."""


def choose_score_function(problem_type: ProblemType, classes: int) -> ScoreFunction:
    """Return what turns the logits of `classes` classes into scores.

    This is the rule of `ImageClassificationPipeline` in transformers: a single class has a sigmoid,
    because its softmax is 1 for every image.
    """
    if problem_type == "regression":
        return "none"
    return "sigmoid" if problem_type == "multi_label" or classes == 1 else "softmax"


def count_exclusive_classes(signature: Signature, problem_type: ProblemType) -> int | None:
    """Return the number of classes of which each image has exactly one.

    It is None for a model that answers something else.
    """
    classes = signature.classes
    if classes is None or choose_score_function(problem_type, classes) != "softmax":
        return None
    return classes


def describe_answer(signature: Signature, problem_type: ProblemType) -> str:
    """Return what the model answers in words, for messages."""
    if not signature.classifies:
        return signature.answer
    function = choose_score_function(problem_type, signature.classes or 0)
    words = {"softmax": "one class", "sigmoid": "any of its classes", "none": "numbers"}
    return words[function]
