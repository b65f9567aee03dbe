"""Which library's model judges the reading of a checkpoint, or why none can."""

from collections.abc import Callable
from dataclasses import replace

from vit_export.checkpoints.assumptions import UNCHECKED
from vit_export.checkpoints.families import find_family
from vit_export.checkpoints.families.base import Family
from vit_export.checkpoints.files import Checkpoint
from vit_export.checkpoints.hints import Check
from vit_export.checkpoints.libraries import LIBRARIES
from vit_export.checkpoints.libraries.base import (
    Absence,
    CannotJudgeError,
    Judge,
    Library,
    import_library,
    quiet,
)
from vit_export.core.errors import MissingError, RequestError
from vit_export.model.model import Model

ALONE = "by vit-export alone"
"""First words of the phrase about a reading that no library confirmed."""
CheckReading = Callable[[Judge, Model], str]
"""Raises RequestError where a judge and a model differ.

It returns what of the model the judge has no answer for, in words; empty if it confirms everything.
"""


def judge_reading(
    checkpoint: Checkpoint,
    model: Model,
    check: Check,
    check_reading: CheckReading,
    *,
    has_arch: bool = False,
) -> Model:
    """Return `model` with the phrase about its reading, after the library's own model confirmed it.

    Nothing that the answers depend on is assumed any more once a library confirmed them all.

    Args:
        checkpoint: its config.json names the library's model.
        model: what was read from it, before any overrides.
        check: `off` looks for no library, `auto` does without one where it has to.
        check_reading: raises RequestError where a judge and the model differ. It returns what of
            the model the judge has no answer for, in words.
        has_arch: whether `--arch` named the model, so that the library must be able to build it.

    Raises:
        RequestError: the library's model does not take the tensors or answers something else; or
            nothing names a library's model and `check` requires one.
        MissingError: the library is not installed or does not import, and `check` requires it.
    """
    if check == "off":
        return replace(model, reading=f"{ALONE}, with --check off")
    library = find_library(checkpoint)
    if library is None:
        return replace(model, reading=_explain_nameless(checkpoint, check))
    module = import_library(library)
    if isinstance(module, Absence):
        return replace(model, reading=_explain_absence(module, check))
    try:
        with quiet():
            judge = library.build(module, checkpoint.config, checkpoint.tensors)
    except CannotJudgeError as error:
        if check == "require" or has_arch:
            raise
        return replace(model, reading=f"{ALONE}: {error.message.rstrip('.')}")
    unchecked = check_reading(judge, model)
    if unchecked and check == "require":
        message = f"{checkpoint.path}: {judge.origin} has no answer that checks {unchecked}."
        raise RequestError(message, "give --check auto.")
    left = {name: value for name, value in model.assumed.items() if name in UNCHECKED}
    assumed = model.assumed if unchecked else left
    return replace(model, reading=describe_judge(judge, unchecked), assumed=assumed)


def find_library(checkpoint: Checkpoint) -> Library | None:
    """Return the library whose model the checkpoint's config.json names."""
    return next((one for one in LIBRARIES.values() if one.find_name(checkpoint.config)), None)


def describe_judge(judge: Judge, unchecked: str = "") -> str:
    """Return the phrase about a reading that a judge confirms, all but what is `unchecked`."""
    return f"checked against {judge.origin}" + (f", all but {unchecked}" if unchecked else "")


def _explain_nameless(checkpoint: Checkpoint, check: Check) -> str:
    """Return the phrase where nothing names a library's model."""
    family = find_family(checkpoint.tensors, str(checkpoint.path))
    library = LIBRARIES.get(family.library)
    if check == "require":
        raise _refuse_nameless(checkpoint, family, library)
    if library is None:
        return f"{ALONE}: no library builds {family.name}"
    return f"{ALONE}; `--arch {library.name}:NAME` checks it"


def _refuse_nameless(
    checkpoint: Checkpoint, family: Family, library: Library | None
) -> RequestError:
    if library is None:
        message = f"{checkpoint.path}: no library builds {family.name}, so that none can check it."
        return RequestError(message, "leave --check require out.")
    message = f"{checkpoint.path}: nothing names the {library.name} model that it was saved from."
    return RequestError(message, f"give --arch {library.name}:NAME, such as {library.example}.")


def _explain_absence(absence: Absence, check: Check) -> str:
    """Return the phrase where the library cannot be imported."""
    if check == "require":
        message = f"--check require needs the checkpoint's own library, and {absence.reason}."
        raise MissingError(message, f"{absence.fix}, or give --check auto.")
    return f"{ALONE}, since {absence.reason}; `{absence.fix}` checks it"
