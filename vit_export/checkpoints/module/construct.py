"""From what `--module` names to the module: an instance, or what a class or a function returns."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from vit_export.checkpoints.module.request import ModuleRequest
from vit_export.core.errors import RequestError, did_you_mean
from vit_export.core.frames import describe_error

REQUIRED = inspect.Parameter.empty
NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def construct(attribute: Any, request: ModuleRequest, seed: int) -> nn.Module:
    """Return the module; random numbers that its code draws come from `seed`.

    Raises:
        RequestError: it is no module and returns none, its arguments do not fit, or its code fails.
    """
    if isinstance(attribute, nn.Module):
        if request.arguments:
            message = f"--module {request.text} is a module already: it takes no --set."
            raise RequestError(message, "leave --set out, or name its class.")
        return attribute
    if not callable(attribute):
        kind = type(attribute).__name__
        message = f"--module {request.text} is a {kind}, and no class, function or module."
        raise RequestError(message, "name the class, or a function that returns the module.")
    _check_arguments(attribute, request)
    return _call(attribute, request, seed)


def _check_arguments(function: Callable[..., Any], request: ModuleRequest) -> None:
    """Raise RequestError unless the arguments are those that a class or a function takes."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # a class of C code tells no signature
        return
    takes_any = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
    unknown = [name for name in request.arguments if name not in parameters]
    if unknown and not takes_any:
        message = f"--module {request.text} takes no argument {unknown[0]!r}."
        raise RequestError(message, did_you_mean(unknown[0], parameters))
    missing = _list_missing(parameters, request.arguments)
    if missing:
        message = f"--module {request.text} needs arguments: {', '.join(missing)}."
        options = " ".join(f"--set {name}=VALUE" for name in missing)
        raise RequestError(message, f"give {options}, each with its value.")


def _list_missing(
    parameters: Mapping[str, inspect.Parameter], arguments: Mapping[str, Any]
) -> list[str]:
    return [
        name
        for name, one in parameters.items()
        if one.kind in NAMED and one.default is REQUIRED and name not in arguments
    ]


def _call(function: Callable[..., Any], request: ModuleRequest, seed: int) -> nn.Module:
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = function(**request.arguments)
    except (Exception, SystemExit) as error:  # noqa: BLE001 a user's code may fail in any way
        message = f"--module {request.text} fails: {describe_error(error)}."
        raise RequestError(message, "give other --set values, or change the code.") from None
    if not isinstance(module, nn.Module):
        message = f"--module {request.text} returns a {type(module).__name__}, and no nn.Module."
        raise RequestError(message, "name a class or a function that returns the module.")
    return module
