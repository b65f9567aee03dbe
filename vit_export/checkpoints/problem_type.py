"""What the logits of a model are for: from config.json, from the user, or assumed."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vit_export.core.errors import RequestError, did_you_mean
from vit_export.model.model import Model
from vit_export.model.signature import ProblemType

PROBLEM_TYPES: Mapping[str, ProblemType] = {
    "single_label_classification": "single_label",
    "multi_label_classification": "multi_label",
    "regression": "regression",
}
"""Values of `problem_type` in the configs of transformers."""
KEY = "problem_type"
ONE_CLASS_FIX = "give --problem-type multi_label for a probability, or regression for a number."


def find_problem_type(
    config: Mapping[str, Any],
    classes: int,
    where: str,
    *,
    hint: ProblemType | None = None,
    recorded_elsewhere: bool = False,
) -> tuple[ProblemType, dict[str, Any]]:
    """Return the problem type of a checkpoint, and what of it is assumed.

    A config.json without a `problem_type` stands for one class per image: transformers and timm
    apply a softmax then. For a single class transformers applies a sigmoid, but trains a regression
    with the same config; so the sigmoid is assumed.

    Args:
        config: content of the config.json; empty without one.
        classes: number of the model's classes; 0 if it does not classify.
        where: the checkpoint, for errors.
        hint: what the user says; it takes precedence.
        recorded_elsewhere: whether a preset describes a checkpoint without config.json.

    Raises:
        RequestError: the config says what transformers does not know, or the hint or the config
            says that one of one class is the answer.
    """
    if hint is not None:
        _check_classes(hint, classes, f"{where}: --problem-type {hint}")
        return hint, {}
    if not classes:
        return "single_label", {}
    recorded = read_problem_type(config, where)
    if recorded is not None:
        _check_classes(recorded, classes, f"{where}: the problem_type in its config.json")
        return recorded, {}
    if classes == 1:
        return "multi_label", {KEY: "multi_label"}
    assumed = not config and not recorded_elsewhere
    return "single_label", {KEY: "single_label"} if assumed else {}


def read_problem_type(config: Mapping[str, Any], where: str) -> ProblemType | None:
    """Return the problem type in a config.json; None if it has none.

    Raises:
        RequestError: transformers does not know it.
    """
    value = config.get(KEY)
    if value is None:
        return None
    if isinstance(value, str) and value in PROBLEM_TYPES:
        return PROBLEM_TYPES[value]
    message = f"{where}: its config.json has the problem_type {value!r}."
    fix = f"{did_you_mean(str(value), PROBLEM_TYPES)} Or give --problem-type single_label."
    raise RequestError(message, fix)


def set_problem_type(model: Model, problem_type: ProblemType | None) -> Model:
    """Return `model` with the user's problem type; None leaves the model as it is.

    Raises:
        RequestError: the model has no classes, or one class that can't be one of several.
    """
    if problem_type is None:
        return model
    _check_classes(problem_type, model.signature.classes or 0, f"--problem-type {problem_type}")
    assumed = {name: value for name, value in model.assumed.items() if name != KEY}
    changed = replace(model, problem_type=problem_type, assumed=assumed)
    return changed.with_overrides({KEY: problem_type})


def _check_classes(problem_type: ProblemType, classes: int, where: str) -> None:
    """Raise RequestError unless a model of so many classes can have this problem type."""
    if not classes:
        message = f"{where} means nothing: the model has no classes."
        raise RequestError(message, "leave --problem-type out.")
    if problem_type == "single_label" and classes == 1:
        message = f"{where} is for two or more classes, of which one is right; the model has one."
        raise RequestError(message, ONE_CLASS_FIX)
