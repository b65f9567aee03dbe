"""`--arch LIBRARY:NAME`: the library's own model that a bare checkpoint was saved from.

It becomes the config.json that the library would have written beside the weights, so that a bare
file is read as a folder is.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from vit_export.checkpoints.families import recognize
from vit_export.checkpoints.files import Checkpoint, read_checkpoint
from vit_export.checkpoints.hints import CheckpointHints
from vit_export.checkpoints.libraries import LIBRARIES
from vit_export.checkpoints.libraries.base import Absence, Library, import_library, quiet
from vit_export.core.errors import RequestError, did_you_mean


@dataclass(frozen=True)
class Arch:
    """A model of a library by its name."""

    library: Library
    name: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the model that LIBRARY:NAME names; only its library is checked.

        Raises:
            RequestError: the text has another form, or there is no such library.
        """
        library, colon, name = text.partition(":")
        if not colon or not name:
            message = f"--arch is {text!r}, which is no LIBRARY:NAME."
            examples = " or ".join(one.example for one in LIBRARIES.values())
            raise RequestError(message, f"give for example {examples}.")
        if library not in LIBRARIES:
            message = f"--arch names the library {library!r}."
            raise RequestError(message, did_you_mean(library, LIBRARIES))
        return cls(LIBRARIES[library], name)


def read_hinted(path: Path, hints: CheckpointHints) -> Checkpoint:
    """Return the checkpoint at `path`, read as `hints` say.

    Raises:
        RequestError: as in `read_checkpoint`, or `hints.arch` names no model.
    """
    checkpoint = read_checkpoint(
        path, prefix=hints.prefix, base=hints.base, head_from=hints.head_from
    )
    return add_arch(checkpoint, hints)


def add_arch(checkpoint: Checkpoint, hints: CheckpointHints) -> Checkpoint:
    """Return the checkpoint with the config.json that `hints.arch` stands for, if it is set.

    Raises:
        RequestError: the library or the name is unknown, the tensors are those of another library,
            or a config.json names another model.
    """
    if hints.arch is None:
        return checkpoint
    arch = Arch.parse(hints.arch)
    _check_agrees(checkpoint, arch)
    if checkpoint.config:
        return checkpoint
    _check_family(checkpoint, arch)
    module = import_library(arch.library)
    if isinstance(module, Absence):
        return replace(checkpoint, config=arch.library.sketch(arch.name))
    with quiet():
        arch.library.check_name(module, arch.name)
        config = arch.library.describe(module, arch.name, checkpoint, hints)
    return replace(checkpoint, config=config)


def _check_family(checkpoint: Checkpoint, arch: Arch) -> None:
    """Raise RequestError if the names of the tensors are those of another library."""
    family = recognize(checkpoint.tensors.keys())
    if family is not None and family.library not in {"", arch.library.name}:
        message = f"--arch names {arch.library.name}:{arch.name}, and the tensors of "
        message += f"{checkpoint.path} are {family.name}."
        raise RequestError(message, f"give --arch {family.library}:NAME, or leave --arch out.")


def _check_agrees(checkpoint: Checkpoint, arch: Arch) -> None:
    """Raise RequestError if the checkpoint's own config.json names another model."""
    named = {
        library.name: library.find_name(checkpoint.config)
        for library in LIBRARIES.values()
        if checkpoint.config
    }
    if checkpoint.config and named[arch.library.name] != arch.name:
        library, name = next(((one, two) for one, two in named.items() if two), ("", ""))
        message = f"--arch is {arch.library.name}:{arch.name}, and the config.json of "
        message += f"{checkpoint.path} names {f'{library}:{name}' if name else 'another model'}."
        raise RequestError(message, "leave --arch out.")
