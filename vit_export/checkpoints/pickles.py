"""State dicts in pickles, read by torch's own `weights_only` reader, which executes nothing.

A file is anybody's: its pickle may ask for classes, be cut off or be damaged in any byte. Each of
them ends in a sentence of ours; torch's own advise to run what the file asks for.
"""

import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vit_export.core.errors import RequestError

SUFFIXES = {".pt", ".pth", ".bin"}
WRAPPERS = ("model_ema", "state_dict_ema", "state_dict", "model", "model_state_dict")
"""Keys under which training scripts keep the tensors; averaged weights first."""
DEEPEST = 4
"""How many wrappers one in another are opened: a pickle may hold itself."""
SHOWN = 5
WHOLE = "copy it again; what can be read is torch.save(model.state_dict(), …)."


@dataclass(frozen=True, eq=False)
class Unpickled:
    """The tensors of a pickle, and the keys under which they were."""

    tensors: dict[str, Tensor]
    keys: tuple[str, ...] = ()


def is_pickle(path: Path) -> bool:
    """Whether torch.save wrote the file: by its name, and by its content since torch 1.6."""
    return path.suffix in SUFFIXES or zipfile.is_zipfile(path)


def read_pickle(path: Path) -> Unpickled:
    """The tensors in a pickle; mapped into memory where the format allows it.

    Raises:
        RequestError: cut off or damaged, a TorchScript archive, or a pickle of more than tensors.
    """
    mapped = zipfile.is_zipfile(path)  # not so the format before torch 1.6
    if mapped:
        _check_no_program(path)
    try:
        with warnings.catch_warnings():
            # torch warns of pickle protocols that it may not read; if so, it raises just after
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # noqa: BLE001 damaged bytes make a reader raise anything
        raise _refusal(path, error) from None
    return _unwrapped(loaded, path)


def _check_no_program(path: Path) -> None:
    """Nothing, unless the file is TorchScript.

    `torch.jit.load` would give its tensors, but of a file that somebody else made torch's own
    documentation says that it may execute anything.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            inside = {name.partition("/")[2] for name in archive.namelist()}
    except Exception as error:  # noqa: BLE001 as above
        raise _refusal(path, error) from None
    if "constants.pkl" in inside or any(name.startswith("code/") for name in inside):
        message = f"{path} is a TorchScript archive: a program with its weights, not weights alone."
        saved = "torch.save(torch.jit.load(FILE).state_dict(), 'weights.pth')"
        raise RequestError(message, f"if you trust where it comes from: {saved}.")


def _refusal(path: Path, error: Exception) -> RequestError:
    asked = re.search(r"(?:GLOBAL|class) ([\w.]+)", str(error))
    if asked:
        message = f"{path} holds more than tensors, {asked[1]}, and reading it could execute code."
        fix = "save the tensors alone, where it was made: torch.save(model.state_dict(), …)."
        return RequestError(message, fix)
    message = f"{path} can't be read as plain tensors: it is cut off, damaged or something else."
    return RequestError(message, WHOLE)


def _unwrapped(loaded: object, path: Path) -> Unpickled:
    keys: tuple[str, ...] = ()
    while isinstance(loaded, dict) and not _is_state_dict(loaded) and len(keys) < DEEPEST:
        key = next((k for k in WRAPPERS if isinstance(loaded.get(k), dict) and loaded[k]), None)
        if key is None:
            break
        loaded, keys = loaded[key], (*keys, key)
    if isinstance(loaded, dict) and _is_state_dict(loaded):
        return Unpickled({str(name): tensor for name, tensor in loaded.items()}, keys)
    within = f" under {', '.join(WRAPPERS)}" if isinstance(loaded, dict) else ""
    message = f"{path} does not hold a state dict{within}{_keys_of(loaded)}."
    raise RequestError(message, "save model.state_dict(), and nothing else.")


def _keys_of(loaded: object) -> str:
    if not isinstance(loaded, dict):
        return ""
    names = [str(name) for name in loaded][:SHOWN]
    return f"; it holds {', '.join(names)}{', …' if len(loaded) > SHOWN else ''}"


def _is_state_dict(values: Mapping[Any, Any]) -> bool:
    return all(isinstance(tensor, Tensor) for tensor in values.values())
