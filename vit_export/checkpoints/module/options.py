"""Options that say what a user's own code says itself, and that make no sense beside `--module`."""

from dataclasses import replace

from vit_export.checkpoints.hints import CheckpointHints
from vit_export.checkpoints.module.request import ModuleRequest
from vit_export.checkpoints.overrides import ModelOverrides
from vit_export.core.errors import RequestError


def check_options(
    module: ModuleRequest,
    model: object,
    hints: CheckpointHints,
    overrides: ModelOverrides,
    check: str,
) -> None:
    """Raise RequestError if an option describes a model that the user's code already is.

    Args:
        module: the user's code.
        model: the value of `--model`.
        hints: only `--prefix` and `--problem-type` go with it.
        overrides: the number of classes does not go with it.
        check: the value of `--check`.
    """
    if model is not None:
        message = "--model and --module both name a model."
        raise RequestError(message, "leave one of them out.")
    options = replace(hints, prefix=None).list_checkpoint_options()
    options += ["--classes"] * (overrides.classes is not None)
    options += ["--check"] * (check != "auto")
    if options:
        message = f"{options[0]} means nothing with --module {module.text}: its code says it."
        is_argument = options[0] in {"--heads", "--classes", "--activation", "--pool"}
        also = ", or give it as an argument of that code with --set NAME=VALUE" * is_argument
        raise RequestError(message, f"leave {options[0]} out{also}.")
