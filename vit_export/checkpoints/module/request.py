"""`--module`, `--set` and `--input`: which module the user names, and how it is built."""

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from vit_export.core.errors import RequestError
from vit_export.data.sizes import parse_image_size

if TYPE_CHECKING:  # torch is heavy, and a bad request is refused without it
    from torch import Tensor

CHANNELS = 3
"""Channels of an image where only its height and width are known."""
SHAPE = re.compile(r"[1-9]\d{0,6}(x[1-9]\d{0,6}){0,4}")
MOST_NUMBERS = 2**28
"""Most numbers in one sample: 1 GB."""
FORMS = "net.py:build, package.module:build, timm:NAME or transformers:DIR"


@dataclass(frozen=True, kw_only=True)
class ModuleRequest:
    """A module that the user names, or has in memory."""

    text: str = ""
    """FILE.py:NAME, package.module:NAME, timm:NAME or transformers:DIR; empty for one in memory."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the class or the function by name."""
    sample_shape: tuple[int, ...] | None = None
    """Shape of one sample, (C, H, W) of an image; None leaves it to the module, which may not
    record it."""

    @classmethod
    def parse(
        cls,
        text: str,
        arguments: Mapping[str, Any] | Sequence[str],
        input_shape: str | None,
        image_size: str | None,
    ) -> Self:
        """Return the request from the options of the command line and the Python functions.

        Args:
            text: `--module`.
            arguments: values by name, or texts `NAME=VALUE` (`--set`).
            input_shape: "CxHxW", or the sides of any other sample (`--input`).
            image_size: "HxW" (`--image-size`), for images of three channels.

        Raises:
            RequestError: a text has another form, or both sizes are there.
        """
        origin, colon, name = text.rpartition(":")
        if not colon or not origin or not name:
            raise RequestError(f"--module is {text!r}.", f"give it as {FORMS}.")
        return cls(
            text=text,
            arguments=_parse_arguments(arguments),
            sample_shape=parse_sample_shape(input_shape, image_size),
        )

    @classmethod
    def choose(
        cls,
        text: str | None,
        arguments: Mapping[str, Any] | Sequence[str],
        input_shape: str | None,
        image_size: str | None,
        example: "Tensor | None" = None,
    ) -> Self | None:
        """Return the request as in `parse`; None if the user names no code and has no example.

        Args:
            text: `--module`; None for a module in memory.
            arguments: as in `parse`.
            input_shape: as in `parse`.
            image_size: as in `parse`.
            example: a batch (B, C, H, W), or of other samples, for a module in memory.

        Raises:
            RequestError: as in `parse`, or an option is there without what it is for.
        """
        if text is not None:
            if example is not None:
                message = "example= is for a module in memory, and --module names code."
                raise RequestError(message, "give --input CxHxW or --image-size HxW.")
            return cls.parse(text, arguments, input_shape, image_size)
        option = "--set" if arguments else "--input"
        if arguments or input_shape is not None:
            message = f"{option} is for --module, which names the code."
            raise RequestError(message, f"give --module, or leave {option} out.")
        if example is None:
            return None
        return cls(sample_shape=_read_example(example))

    @property
    def origin(self) -> str:
        """What stands before the last colon: a file, a package's module, or a library."""
        return self.text.rpartition(":")[0]

    @property
    def name(self) -> str:
        """What stands behind the last colon: an attribute, an architecture or a folder."""
        return self.text.rpartition(":")[2]

    @property
    def recorded(self) -> str:
        """The text without folders, as a manifest records it."""
        return f"{Path(self.origin).name}:{Path(self.name).name}"


def parse_sample_shape(input_shape: str | None, image_size: str | None) -> tuple[int, ...] | None:
    """Return the shape of one sample from `--input` or `--image-size`; None without both.

    Raises:
        RequestError: a text is no shape, or both are there.
    """
    if input_shape is None:
        return None if image_size is None else (CHANNELS, *parse_image_size(image_size))
    if image_size is not None:
        message = "--input has the image's size already."
        raise RequestError(message, "leave --image-size out.")
    if not SHAPE.fullmatch(input_shape):
        message = f"--input is {input_shape!r}, which is no shape of one image or other sample."
        fix = "give channels, height and width: --input 3x224x224, or the sides of another sample."
        raise RequestError(message, fix)
    return _check_size(tuple(int(side) for side in input_shape.split("x")), "--input")


def _read_example(example: "Tensor") -> tuple[int, ...]:
    """Return the shape of one sample in a batch.

    Raises:
        RequestError: it is no batch of numbers of floating point.
    """
    shape = tuple(example.shape[1:])
    if not shape or not example.numel():
        message = f"example= has the shape {tuple(example.shape)}, which is no batch of samples."
        raise RequestError(message, "give for example torch.zeros(1, 3, 224, 224).")
    if not example.is_floating_point():
        dtype = str(example.dtype).removeprefix("torch.")
        message = f"example= is of {dtype}, and a file takes numbers of fp32."
        raise RequestError(message, "give an example of fp32.")
    return _check_size(shape, "example=")


def _check_size(shape: tuple[int, ...], option: str) -> tuple[int, ...]:
    if prod(shape) > MOST_NUMBERS:
        message = f"{option} has {prod(shape):,} numbers in one sample: more than 1 GB."
        raise RequestError(message, "give a smaller shape.")
    return shape


def _parse_arguments(arguments: Mapping[str, Any] | Sequence[str]) -> dict[str, Any]:
    """Return values by name; a text that is no Python literal stays a text."""
    if isinstance(arguments, Mapping):
        return dict(arguments)
    values: dict[str, Any] = {}
    for text in arguments:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            message = f"--set is {text!r}, which is no NAME=VALUE."
            raise RequestError(message, "give for example --set depth=12.")
        if name in values:
            raise RequestError(f"--set {name} is there twice.", "give it once.")
        try:
            values[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            values[name] = value
    return values
