"""State dicts in pickles, read by torch's own `weights_only` reader, which executes nothing.

A TorchScript archive holds a program besides; its tensors are read without it.

A file may come from anybody: its pickle may name classes, be cut off, or be damaged in any byte.
Each case ends in a RequestError, since torch's own errors advise to run the code in the file.
"""

import io
import pickletools
import re
import warnings
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import torch
from torch import Tensor

from vit_export.artifact.manifest import KEY
from vit_export.checkpoints.formats import GIVE_CHECKPOINT
from vit_export.checkpoints.stand_ins import allow, find_stand_ins
from vit_export.checkpoints.torchscript import (
    copy_without_program,
    find_program_stand_ins,
    list_tensors,
)
from vit_export.core.errors import RequestError

MAX_PICKLE_BYTES = 4 << 20
"""Largest pickle in an archive, which names tensors but does not hold their numbers.

A thousand tensors have 0.1 MB. Each byte may become a list of 60 bytes.
"""
MAX_COPIED_BYTES = 2**31
"""Largest file that is copied into memory. A larger one is mapped.

Where another program cuts a mapped file off, the system ends this process without a word (SIGBUS).
"""
MAX_STEPS = 1_000_000
"""Most instructions of a pickle without an archive; a thousand tensors take some 20,000."""
OLD_PICKLES = 5
"""A file before torch 1.6 begins with a mark, a version, a system, the tensors and their keys."""
MAX_PROTOCOL = 3
"""Newest pickle protocol whose instructions torch's reader knows; torch.save writes 2."""
COPY_AGAIN = "copy it again; a readable file is written by torch.save(model.state_dict(), …)."
SAVE_ALONE = "save model.state_dict(), and nothing else."


def read_pickle(path: Path) -> Any:
    """Return what a pickle holds, its tensors mapped into memory if it is a large archive.

    Objects that training scripts save beside the tensors are replaced by stand-ins.

    Raises:
        RequestError: the file is cut off or damaged, is a TorchScript archive without named
            tensors, or names a class that is not on the list of stand-ins.
    """
    is_zip = is_archive(path)
    names, is_program = _check_archive(path) if is_zip else (_check_steps(path), False)
    try:
        if is_program:
            return _read_program(path, names)
        if is_zip and path.stat().st_size > MAX_COPIED_BYTES:
            return _load(path, find_stand_ins(names), is_mapped=True)
        with path.open("rb") as file:  # torch.load would go by the suffix of a path
            return _load(file, find_stand_ins(names))
    except RequestError:
        raise
    except Exception as error:  # noqa: BLE001 damaged bytes make a reader raise anything
        raise _explain(path, error) from None


def _read_program(path: Path, names: Iterable[str]) -> dict[str, Tensor]:
    """Return the tensors of a TorchScript archive."""
    stand_ins = find_program_stand_ins(names)
    tensors = list_tensors(_load(copy_without_program(path), stand_ins))
    if not tensors:
        message = f"{path} is a TorchScript program whose weights have lost their names."
        raise RequestError(message, GIVE_CHECKPOINT)
    return tensors


def _load(file: Path | IO[bytes], stand_ins: Mapping[str, Any], *, is_mapped: bool = False) -> Any:
    with warnings.catch_warnings(), allow(stand_ins):
        # torch warns of pickle protocols that it may be unable to read, and then raises
        warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
        return torch.load(file, map_location="cpu", weights_only=True, mmap=is_mapped)


def is_archive(path: Path) -> bool:
    """Return whether the file is a zip archive, as torch.save writes it since torch 1.6."""
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # one that says that it goes on in another file
        return True


def _check_archive(path: Path) -> tuple[set[str], bool]:
    """Return the names of classes and functions in the archive, and whether it is a program.

    Raises:
        RequestError: vit-export wrote the program, or a small file may unpack to much more than its
            own size.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
            members = {one.filename.partition("/")[2] for one in records}
            is_program = "constants.pkl" in members or any(
                one.startswith("code/") for one in members
            )
            _check_sizes(path, [one for one in records if not (is_program and _is_code(one))])
            pickles = [archive.read(one) for one in records if one.filename.endswith("/data.pkl")]
    except RequestError:
        raise
    except Exception as error:  # noqa: BLE001 as above
        raise _explain(path, error) from None
    if f"extra/{KEY}.json" in members:
        message = f"{path} is a TorchScript program that vit-export wrote: its weights have lost "
        raise RequestError(f"{message}their names.", GIVE_CHECKPOINT)
    return set().union(*(_list_names(path, io.BytesIO(one), 1) for one in pickles)), is_program


def _is_code(record: zipfile.ZipInfo) -> bool:
    """Return whether a record belongs to the program, which is never read."""
    name = record.filename.partition("/")[2]
    return not name.startswith("data")


def _check_sizes(path: Path, records: Sequence[zipfile.ZipInfo]) -> None:
    """Raise RequestError if a small file may unpack to much more than its own size."""
    pickles = [one for one in records if one.filename.endswith(".pkl")]
    if any(one.compress_type != zipfile.ZIP_STORED for one in records):
        raise RequestError(f"{path} is compressed, which torch.save never does.", COPY_AGAIN)
    if any(one.file_size > MAX_PICKLE_BYTES for one in pickles):
        message = f"{path} holds a pickle of more than {MAX_PICKLE_BYTES:,} bytes."
        raise RequestError(message, SAVE_ALONE)


def _check_steps(path: Path) -> set[str]:
    """Return the names of classes and functions in a pickle without an archive."""
    with path.open("rb") as file:
        return _list_names(path, file, OLD_PICKLES)


def _list_names(path: Path, file: BinaryIO, count: int) -> set[str]:
    """Return the names of classes and functions in `count` pickles, one behind the other.

    Raises:
        RequestError: they have many instructions, each of which may become an object, or are of a
            protocol that torch's reader does not know.
    """
    steps = chain.from_iterable(pickletools.genops(file) for _ in range(count))
    protocol, names = 0, set()
    try:
        for opcode, argument, _ in islice(steps, MAX_STEPS):
            if opcode.name == "PROTO":
                protocol = max(protocol, cast("int", argument))
            elif opcode.name == "GLOBAL":
                names.add(_name_today(str(argument)))
        is_long = next(steps, None) is not None
    except Exception:  # noqa: BLE001 damaged bytes, of which torch's reader says what is wrong
        is_long = False
    if is_long:
        message = f"{path} holds a pickle of more than {MAX_STEPS:,} instructions."
        raise RequestError(message, SAVE_ALONE)
    if protocol > MAX_PROTOCOL:
        message = f"{path} is a pickle of protocol {protocol}, and torch.save writes protocol 2."
        fix = "where the file was made, write it with torch.save(model.state_dict(), 'weights.pth')"
        raise RequestError(message, f"{fix}, without pickle_protocol.")
    return names


def _name_today(argument: str) -> str:
    """Return the dotted name that `module name` of a pickle has in Python 3."""
    module, _, name = argument.partition(" ")
    if (module, name) in NAME_MAPPING:
        module, name = NAME_MAPPING[module, name]
    return f"{IMPORT_MAPPING.get(module, module)}.{name}"


def _explain(path: Path, error: Exception) -> RequestError:
    """Return the error for one of torch's: the pickle names a class, or it is damaged."""
    match = re.search(r"(?:GLOBAL|class) ([\w.]+)", str(error))
    if match or "persistent_load of storage" in str(error):
        name = match[1] if match else "an nn.Module"
        message = f"{path} holds more than tensors, {name}, and reading it could execute code."
        fix = "if you trust its origin, load it with the code that wrote it, and save the tensors "
        return RequestError(message, f"{fix}alone: torch.save(model.state_dict(), 'weights.pth').")
    message = f"{path} can't be read as plain tensors: it is cut off, damaged or something else."
    return RequestError(message, COPY_AGAIN)
