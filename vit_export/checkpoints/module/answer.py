"""The tensors that a module's answer is: the answer itself, or parts of it.

The rule where the user names none: `logits` if the answer has them, then an embedding of the image,
then its tokens, as the models of transformers call them; else the only tensor there is.
"""

import dataclasses
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from vit_export.core.errors import RequestError
from vit_export.model.program.answer import WHOLE, Part, take_part

DEPTH = 3
"""Most steps of a way."""
MOST_NAMES = 20
"""Most names that one error lists."""
PREFERRED = ("logits", "image_embeds", "pooler_output", "last_hidden_state")
"""Parts of an answer by their names in transformers, in the order in which one is taken."""
PIXELS = "pixel_values"
"""The argument of transformers that images are."""
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def find_keyword(module: nn.Module, name: str) -> str:
    """Return the argument that images are, if it is not the first; else an empty string.

    Raises:
        RequestError: the module needs other arguments than images.
    """
    parameters = inspect.signature(module.forward).parameters
    required = [
        one.name
        for one in parameters.values()
        if one.default is inspect.Parameter.empty
        and one.kind in (*POSITIONAL, inspect.Parameter.KEYWORD_ONLY)
    ]
    if PIXELS in parameters and not set(required) - {PIXELS}:
        return PIXELS
    first = next((one.name for one in parameters.values() if one.kind in POSITIONAL), None)
    others = [one for one in required if one != first]
    if others:
        message = f"{name} takes several inputs: {', '.join([first or '', *others])}."
        fix = "name a function that returns a module of images alone, with the others inside it."
        raise RequestError(message, fix)
    return ""


def find_parts(answer: Any, names: Sequence[str] | None, module: str) -> dict[str, Part]:
    """Return where the tensors of an answer are, by the names of a file's outputs.

    Args:
        answer: what the module answers.
        names: the parts that the user names, with dots between steps; None for the one tensor that
            counts, whose name is empty.
        module: the module's name, for errors.

    Raises:
        RequestError: there is no such tensor, or there are several and none is named; or one is not
            of floating point.
    """
    tensors = {".".join(map(str, part)): part for part in _list_tensors(answer)}
    if names is None:
        parts = {"": WHOLE if isinstance(answer, Tensor) else _choose_part(answer, tensors, module)}
    else:
        parts = {_name_output(name): _find_part(name, tensors, module) for name in names}
    for part in parts.values():
        tensor = take_part(answer, part)
        if not tensor.is_floating_point():
            dtype = str(tensor.dtype).removeprefix("torch.")
            message = f"{module} answers {dtype}, and a proof compares numbers of fp32."
            raise RequestError(message, "return the numbers from before they become that.")
    return parts


def _find_part(name: str, tensors: Mapping[str, Part], module: str) -> Part:
    if name in tensors:
        return tensors[name]
    if tensors.keys() == {""}:
        message = f"{module} answers one tensor, which has no part {name!r}."
        raise RequestError(message, "leave --outputs out.")
    listing = ", ".join([*tensors][:MOST_NAMES]) + ", …" * (len(tensors) > MOST_NAMES)
    raise RequestError(
        f"{module} answers no tensor {name!r}.", f"name some of these: {listing or 'none'}."
    )


def _name_output(name: str) -> str:
    """Return the name of a file's output: a position alone is no name."""
    return f"output_{name}" if name.isdecimal() else name.replace(".", "_")


def _choose_part(answer: Any, tensors: Mapping[str, Part], module: str) -> Part:
    outer = {name: part for name, part in tensors.items() if len(part) == 1}
    chosen = next((name for name in PREFERRED if name in outer), None)
    if chosen is not None:
        return outer[chosen]
    if len(outer) == 1:
        return next(iter(outer.values()))
    kind = type(answer).__name__
    if not tensors:
        message = f"{module} answers a {kind} without a tensor."
        raise RequestError(message, "name a module whose forward returns tensors.")
    message = f"{module} answers several tensors: {', '.join(outer or tensors)} of a {kind}."
    raise RequestError(message, f"give --outputs {','.join([*tensors][:2])}, or one of them.")


def _list_tensors(answer: Any, part: Part = WHOLE) -> Iterator[Part]:
    """Yield where the tensors of an answer are, at most `DEPTH` steps in."""
    if isinstance(answer, Tensor):
        yield part
    elif len(part) < DEPTH:
        for step, one in _list_parts(answer).items():
            yield from _list_tensors(one, (*part, step))


def _list_parts(answer: Any) -> dict[str | int, Any]:
    """Return the parts of a mapping, a dataclass, a named tuple, a tuple or a list."""
    if isinstance(answer, Mapping):
        return dict(answer)
    if dataclasses.is_dataclass(answer):
        return {one.name: getattr(answer, one.name) for one in dataclasses.fields(answer)}
    if isinstance(answer, tuple) and hasattr(answer, "_fields"):
        return dict(zip(answer._fields, answer, strict=True))
    return dict(enumerate(answer)) if isinstance(answer, tuple | list) else {}
