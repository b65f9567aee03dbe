"""The one tensor that a module's answer is: the answer itself, or a part of it.

The rule: `logits` if the answer has them, then an embedding of the image, then its tokens, as the
models of transformers call them; else the only tensor there is.
"""

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from vit_export.core.errors import RequestError

PREFERRED = ("logits", "image_embeds", "pooler_output", "last_hidden_state")
"""Parts of an answer by their names in transformers, in the order in which one is taken."""
PIXELS = "pixel_values"
"""The argument of transformers that images are."""
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class TensorAnswer(nn.Module):
    """A module that answers images with one tensor.

    Args:
        module: the user's module.
        keyword: the argument that images are; empty for the first one.
        part: the name or the position of the tensor in the module's answer; None for the answer.
    """

    def __init__(self, module: nn.Module, keyword: str = "", part: str | int | None = None) -> None:
        super().__init__()
        self.module = module
        self.keyword = keyword
        self.part = part

    def forward(self, images: Tensor) -> Tensor:
        """Return the answers (B, …) to `images` (B, C, H, W)."""
        answer = self.module(**{self.keyword: images}) if self.keyword else self.module(images)
        tensor: Tensor = take_part(answer, self.part)
        return tensor


def take_part(answer: Any, part: str | int | None) -> Any:
    """Return a part of an answer by name or position; the answer itself for None."""
    if part is None:
        return answer
    if isinstance(part, str) and not isinstance(answer, Mapping):
        return getattr(answer, part)
    return answer[part]


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


def find_part(answer: Any, name: str) -> str | int | None:
    """Return where the one tensor of an answer is; None if the answer is the tensor.

    Raises:
        RequestError: there is none or there are several, or it is not of floating point.
    """
    part = None if isinstance(answer, Tensor) else _choose_part(answer, name)
    tensor = take_part(answer, part)
    if not tensor.is_floating_point():
        dtype = str(tensor.dtype).removeprefix("torch.")
        message = f"{name} answers {dtype}, and a proof compares numbers of fp32."
        raise RequestError(message, "return the numbers from before they become that.")
    return part


def _choose_part(answer: Any, name: str) -> str | int:
    parts = {key: one for key, one in _list_parts(answer).items() if isinstance(one, Tensor)}
    chosen = next((key for key in PREFERRED if key in parts), None)
    if chosen is not None:
        return chosen
    if len(parts) == 1:
        return next(iter(parts))
    kind = type(answer).__name__
    if not parts:
        message = f"{name} answers a {kind} without a tensor."
    else:
        message = f"{name} answers several tensors: {', '.join(map(str, parts))} of a {kind}."
    raise RequestError(message, "name a module whose forward returns the one tensor that counts.")


def _list_parts(answer: Any) -> dict[str | int, Any]:
    """Return the parts of a mapping, a dataclass, a named tuple, a tuple or a list."""
    if isinstance(answer, Mapping):
        return dict(answer)
    if dataclasses.is_dataclass(answer):
        return {one.name: getattr(answer, one.name) for one in dataclasses.fields(answer)}
    if isinstance(answer, tuple) and hasattr(answer, "_fields"):
        return dict(zip(answer._fields, answer, strict=True))
    return dict(enumerate(answer)) if isinstance(answer, tuple | list) else {}
