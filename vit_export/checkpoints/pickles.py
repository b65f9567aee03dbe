"""State dicts in pickles, read by torch's own `weights_only` reader, which executes nothing.

A file may come from anybody: its pickle may name classes, be cut off, or be damaged in any byte.
Each case ends in a RequestError, since torch's own errors advise to run the code in the file.
"""

import pickletools
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vit_export.artifact.manifest import KEY
from vit_export.core.errors import RequestError

PICKLE_SUFFIXES = {".pt", ".pth", ".bin"}
WRAPPERS = ("model_ema", "state_dict_ema", "state_dict", "model", "model_state_dict")
"""Keys under which training scripts keep the tensors; averaged weights come first."""
MAX_DEPTH = 4
"""Maximum number of nested wrappers, since a pickle may contain itself."""
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
MAX_NAMES = 5
"""Number of keys that one error lists."""
COPY_AGAIN = "copy it again; a readable file is written by torch.save(model.state_dict(), …)."
GIVE_CHECKPOINT = "give the checkpoint that the file was built from."


@dataclass(frozen=True, eq=False)
class Weights:
    """The tensors of a weights file, and the keys under which a pickle keeps them."""

    tensors: dict[str, Tensor]
    keys: tuple[str, ...] = ()


def is_pickle(path: Path) -> bool:
    """Return whether the name of the file, or its content, is that of a torch.save file.

    Only files since torch 1.6, which are zip archives, are recognized by their content.
    """
    return path.suffix in PICKLE_SUFFIXES or _is_archive(path)


def read_pickle(path: Path) -> Weights:
    """Return the tensors in a pickle, mapped into memory if it is a large archive.

    Raises:
        RequestError: the file is cut off or damaged, is a TorchScript archive, or holds more than
            tensors.
    """
    is_zip = _is_archive(path)
    is_mapped = is_zip and path.stat().st_size > MAX_COPIED_BYTES  # a bare pickle can't be mapped
    if is_zip:
        _check_no_program(path)
    else:
        _check_steps(path)
    try:
        with warnings.catch_warnings():
            # torch warns of pickle protocols that it may be unable to read, and then raises
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=is_mapped)
    except Exception as error:  # noqa: BLE001 damaged bytes make a reader raise anything
        raise _explain(path, error) from None
    return _unwrap(loaded, path)


def _is_archive(path: Path) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # one that says that it goes on in another file
        return True


def _check_no_program(path: Path) -> None:
    """Raise RequestError if the file is TorchScript.

    `torch.jit.load` could read its tensors, but such a file may execute anything, as torch's own
    documentation says.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
    except Exception as error:  # noqa: BLE001 as above
        raise _explain(path, error) from None
    members = {one.filename.partition("/")[2] for one in records}
    if "constants.pkl" in members or any(name.startswith("code/") for name in members):
        message = f"{path} is a TorchScript archive: a program with its weights, not weights alone."
        code = "torch.save(torch.jit.load(FILE).state_dict(), 'weights.pth')"
        fix = f"if you trust its origin, extract the weights: {code}."
        # the tensors in a file of vit-export have lost their names
        raise RequestError(message, GIVE_CHECKPOINT if f"extra/{KEY}.json" in members else fix)
    _check_sizes(path, records)


def _check_sizes(path: Path, records: Sequence[zipfile.ZipInfo]) -> None:
    """Raise RequestError if a small file may unpack to much more than its own size."""
    pickles = [one for one in records if one.filename.endswith(".pkl")]
    if any(one.compress_type != zipfile.ZIP_STORED for one in records):
        raise RequestError(f"{path} is compressed, which torch.save never does.", COPY_AGAIN)
    if any(one.file_size > MAX_PICKLE_BYTES for one in pickles):
        message = f"{path} holds a pickle of more than {MAX_PICKLE_BYTES:,} bytes."
        raise RequestError(message, "save model.state_dict(), and nothing else.")


def _check_steps(path: Path) -> None:
    """Raise RequestError if a pickle has many instructions, each of which may become an object."""
    try:
        with path.open("rb") as file:
            steps = chain.from_iterable(pickletools.genops(file) for _ in range(OLD_PICKLES))
            is_long = next(islice(steps, MAX_STEPS, None), None) is not None
    except Exception:  # noqa: BLE001 damaged bytes, of which torch's reader says what is wrong
        return
    if is_long:
        message = f"{path} holds a pickle of more than {MAX_STEPS:,} instructions."
        raise RequestError(message, "save model.state_dict(), and nothing else.")


def _explain(path: Path, error: Exception) -> RequestError:
    """Return the error for one of torch's: the pickle names a class, or it is damaged."""
    match = re.search(r"(?:GLOBAL|class) ([\w.]+)", str(error))
    if match:
        message = f"{path} holds more than tensors, {match[1]}, and reading it could execute code."
        fix = "save the tensors alone, where the file was made: torch.save(model.state_dict(), …)."
        return RequestError(message, fix)
    message = f"{path} can't be read as plain tensors: it is cut off, damaged or something else."
    return RequestError(message, COPY_AGAIN)


def _unwrap(loaded: object, path: Path) -> Weights:
    keys: tuple[str, ...] = ()
    while isinstance(loaded, dict) and not _is_state_dict(loaded) and len(keys) < MAX_DEPTH:
        key = next((k for k in WRAPPERS if isinstance(loaded.get(k), dict) and loaded[k]), None)
        if key is None:
            break
        loaded, keys = loaded[key], (*keys, key)
    if isinstance(loaded, dict) and _is_state_dict(loaded):
        return Weights({str(name): tensor for name, tensor in loaded.items()}, keys)
    within = f" under {', '.join(WRAPPERS)}" if isinstance(loaded, dict) else ""
    message = f"{path} does not hold a state dict{within}{_list_keys(loaded)}."
    raise RequestError(message, "save model.state_dict(), and nothing else.")


def _list_keys(loaded: object) -> str:
    if not isinstance(loaded, dict):
        return ""
    names = [str(name) for name in loaded][:MAX_NAMES]
    return f"; it holds {', '.join(names)}{', …' if len(loaded) > MAX_NAMES else ''}"


def _is_state_dict(values: Mapping[Any, Any]) -> bool:
    return all(isinstance(tensor, Tensor) for tensor in values.values())
