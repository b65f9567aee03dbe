"""Checkpoints as people have them: a file, or a folder with what belongs to it, read safely.

Files are safetensors, whole or in shards, or pickles read with `weights_only=True`, which can't
execute anything. Both are mapped into memory, not copied.
"""

import json
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vit_export.errors import RequestError

PICKLES = {".pt", ".pth", ".bin"}
NAMES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""What a folder is searched for, in this order; else its only weights file is taken."""
WRAPPERS = ("model_ema", "state_dict", "model", "model_state_dict")
"""Keys under which training scripts keep the tensors; averaged weights first."""
PREFIXES = ("module.", "_orig_mod.", "model.", "timm_model.")
"""What DataParallel, torch.compile, Lightning and `transformers`' wrapper of timm put before every
name."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """Tensors under the names of their file, and the JSON files beside it."""

    path: Path
    """The file or folder that was asked for."""
    tensors: dict[str, Tensor]
    config: Mapping[str, Any] = field(default_factory=dict)
    """config.json: the architecture, and the labels."""
    processor: Mapping[str, Any] = field(default_factory=dict)
    """How images are read: preprocessor_config.json, or that part of a processor_config.json
    (`transformers` 5), which goes first there."""


def read_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint at `path`, a file or a folder.

    Raises:
        RequestError: missing, truncated, of another kind, or a pickle that would execute code.
    """
    file = _file_in(path) if path.is_dir() else path
    tensors = _read_shards(file) if file.name.endswith(".index.json") else _read_file(file)
    tensors = _unprefixed(tensors)
    return Checkpoint(
        path=path,
        tensors=tensors,
        config=_read_json(file.parent / "config.json", optional=True),
        processor=_read_json(file.parent / "processor_config.json", optional=True).get(
            "image_processor"
        )
        or _read_json(file.parent / "preprocessor_config.json", optional=True),
    )


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors alone; errors as `read_checkpoint`."""
    return read_checkpoint(path).tensors


def _file_in(folder: Path) -> Path:
    for name in NAMES:
        if (folder / name).is_file():
            return folder / name
    found = [p for p in sorted(folder.iterdir()) if p.suffix in PICKLES | {".safetensors"}]
    if len(found) == 1:
        return found[0]
    told = ", ".join(p.name for p in found) or "none"
    message = f"{folder} holds no model.safetensors, and of other weights files: {told}."
    raise RequestError(message, "name the file.")


def _read_json(path: Path, *, optional: bool = False) -> dict[str, Any]:
    if optional and not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RequestError(f"{path} can't be read: {error}.", "copy it again.") from None
    if not isinstance(values, dict):
        raise RequestError(f"{path} is not a JSON object.", "copy it again.")
    return values


def _read_shards(index: Path) -> dict[str, Tensor]:
    names = _read_json(index).get("weight_map")
    if not isinstance(names, dict):
        raise RequestError(f"{index} has no weight_map.", "copy it again.")
    tensors: dict[str, Tensor] = {}
    for shard in sorted(set(names.values())):
        tensors |= _read_file(index.parent / Path(str(shard)).name)
    return tensors


def _read_file(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise RequestError(f"{path}: no such weights file.", "check the path.")
    try:
        if path.suffix not in PICKLES:
            return load_file(path)
        with warnings.catch_warnings():
            # torch warns of pickle protocols that it may not read; if so, it raises just after
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            mapped = zipfile.is_zipfile(path)  # not so the format before torch 1.6
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except SafetensorError as error:
        message = f"{path} is not a whole safetensors file ({error})."
        raise RequestError(message, "copy it again; pickles end in .pt, .pth or .bin.") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = str(error).partition("\n")[0]
        message = f"{path} can't be read as plain tensors ({reason})."
        raise RequestError(
            message, "save a state dict: torch.save(model.state_dict(), …)."
        ) from None
    return _unwrapped(loaded, path)


def _unwrapped(loaded: object, path: Path) -> dict[str, Tensor]:
    while isinstance(loaded, dict) and not _is_state_dict(loaded):
        inside = [loaded[name] for name in WRAPPERS if isinstance(loaded.get(name), dict)]
        loaded = inside[0] if inside else None
    if isinstance(loaded, dict) and _is_state_dict(loaded):
        return {str(name): tensor for name, tensor in loaded.items()}
    raise RequestError(
        f"{path} does not hold a state dict.", "save model.state_dict(), not the model."
    )


def _is_state_dict(values: dict[Any, Any]) -> bool:
    return all(isinstance(tensor, Tensor) for tensor in values.values())


def _unprefixed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for _ in PREFIXES:  # in either order
        for prefix in PREFIXES:
            if tensors and all(name.startswith(prefix) for name in tensors):
                tensors = {name.removeprefix(prefix): t for name, t in tensors.items()}
    return tensors
