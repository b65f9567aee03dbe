"""A library with its own code for the models of a family: it judges what was read of a checkpoint.

A library's code runs; code that a checkpoint names never does, and nothing is downloaded.
"""

import importlib
import importlib.util
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from torch import Tensor, nn

from vit_export.checkpoints.files import Checkpoint
from vit_export.checkpoints.hints import CheckpointHints
from vit_export.core.errors import RequestError, did_you_mean

Config = Mapping[str, Any]
"""Content of a config.json."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Judge:
    """A module whose own forward decides whether a checkpoint was read rightly."""

    module: nn.Module
    """In fp32 and in evaluation mode."""
    origin: str
    """Name and version of the library, or where else the module comes from."""
    name: str
    """The architecture or the class, for errors."""
    answer: Callable[[Tensor], Any]
    """Function from images (M, C, H, W) to the module's answer: a tensor or named tensors."""
    is_live: bool = False
    """Whether it is the user's own module in memory."""
    missing: tuple[str, ...] = ()
    """Tensors of the module that the checkpoint lacks; they are NaN."""
    unexpected: tuple[str, ...] = ()
    """Tensors of the checkpoint that the module lacks."""


@dataclass(frozen=True, kw_only=True)
class Library:
    """A library that builds its own model for a checkpoint."""

    name: str
    """What stands before the colon of `--arch`; also the name that Python imports."""
    package: str
    """Name on PyPI."""
    example: str
    """What `--arch` takes, for errors."""
    names: Callable[[Any], Iterable[str]]
    """Function from the imported library to the names of its models."""
    describe: Callable[[Any, str, Checkpoint, CheckpointHints], Config]
    """Function from the library, a name, a bare checkpoint and hints to a config.json."""
    sketch: Callable[[str], Config]
    """Function from a name to the little that it says where the library does not import."""
    find_name: Callable[[Config], str]
    """Function from a config.json to the name of its model; empty if it is another library's."""
    build: Callable[[Any, Config, Mapping[str, Tensor]], Judge]
    """Function from the library, a config.json and tensors to the library's model."""

    @property
    def version(self) -> str:
        """The installed version; empty if none is."""
        try:
            return version(self.package)
        except PackageNotFoundError:
            return ""

    @property
    def origin(self) -> str:
        """Name and version, for reports."""
        return f"{self.name} {self.version}"

    def check_name(self, library: Any, name: str) -> None:
        """Raise RequestError unless the imported `library` has a model of this name."""
        names = {*self.names(library)}
        if name not in names:
            message = f"{self.origin} has no model {name!r}."
            raise RequestError(message, did_you_mean(name, names))


class CannotJudgeError(RequestError):
    """A library cannot build the model that a config.json names, so that it has no answer."""


@dataclass(frozen=True)
class Absence:
    """Why a library cannot judge on this machine."""

    reason: str
    """A phrase."""
    fix: str
    """A command that changes it."""


def import_library(library: Library) -> Any:
    """Return the imported library, or its `Absence`."""
    return import_named(library.name, library.package)


@cache
def import_named(name: str, package: str) -> Any:
    """Return a module or an `Absence`; a failed import is not repeated in one process."""
    if importlib.util.find_spec(name) is None:
        return Absence(f"{package} is not installed", f"pip install {package}")
    try:
        with quiet():
            return importlib.import_module(name)
    except Exception as error:  # noqa: BLE001 code of others may fail in any way at import
        lacking = error.name if isinstance(error, ModuleNotFoundError) else None
        reason = f"{package} is installed and does not import ({first_line(error)})"
        return Absence(reason, f"pip install {lacking or package}")


def first_line(error: Exception) -> str:
    """Return the first line of an error's text without its full stop, or the name of its type."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")


@contextmanager
def quiet() -> Iterator[None]:
    """Let no library log while it is open: a user has not called it and can't act on it."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(level)
