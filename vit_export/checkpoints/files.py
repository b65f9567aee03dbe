"""Checkpoints as people have them: a file, or a folder with what belongs to it, read safely.

Files are safetensors, whole or in shards, or pickles read with `weights_only=True`, which can't
execute anything. Both are mapped into memory, not copied.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from vit_export.checkpoints.pickles import SUFFIXES, Unpickled, is_pickle, read_pickle
from vit_export.core.errors import RequestError

NAMES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""What a folder is searched for, in this order; else its only weights file is taken."""
SHOWN = 3
PREFIXES = ("module.", "_orig_mod.", "model.", "timm_model.")
"""What DataParallel, torch.compile, Lightning and `transformers`' wrapper of timm put before every
name."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """Tensors under the names of their file, and the JSON files beside it."""

    path: Path
    """The file or folder that was asked for."""
    tensors: dict[str, Tensor]
    keys: tuple[str, ...] = ()
    """Under which of its keys a pickle keeps the tensors, from the outermost."""
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
    found = _read_shards(file) if file.name.endswith(".index.json") else _read_file(file)
    if not found.tensors:
        raise RequestError(f"{file} holds no tensors.", "save model.state_dict().")
    return Checkpoint(
        path=path,
        tensors=_unprefixed(found.tensors),
        keys=found.keys,
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
    found = [p for p in sorted(folder.iterdir()) if p.suffix in SUFFIXES | {".safetensors"}]
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
    except (OSError, ValueError, RecursionError) as error:
        raise RequestError(f"{path} can't be read: {error}.", "copy it again.") from None
    if not isinstance(values, dict):
        raise RequestError(f"{path} is not a JSON object.", "copy it again.")
    return values


def _read_shards(index: Path) -> Unpickled:
    names = _read_json(index).get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(n, str) for n in names.values()):
        raise RequestError(f"{index} has no weight_map of names to files.", "copy it again.")
    tensors: dict[str, Tensor] = {}
    for shard in sorted(set(names.values())):
        tensors |= _read_file(index.parent / Path(shard).name).tensors
    lost = [name for name in names if name not in tensors]
    if lost:
        told = ", ".join(lost[:SHOWN]) + (", …" if len(lost) > SHOWN else "")
        message = f"{index} promises {len(lost)} tensors that its files do not hold: {told}."
        raise RequestError(message, "copy the files again, all from one place.")
    return Unpickled(tensors)


def _read_file(path: Path) -> Unpickled:
    if not path.is_file():
        raise RequestError(f"{path}: no such weights file.", "check the path.")
    if is_pickle(path):
        return read_pickle(path)
    try:
        return Unpickled(load_file(path))
    except Exception as error:  # noqa: BLE001 damaged bytes make a reader raise anything
        message = f"{path} is not a whole safetensors file ({error})."
        raise RequestError(message, "copy it again; pickles end in .pt, .pth or .bin.") from None


def _unprefixed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for _ in PREFIXES:  # in either order
        for prefix in PREFIXES:
            if tensors and all(name.startswith(prefix) for name in tensors):
                tensors = {name.removeprefix(prefix): t for name, t in tensors.items()}
    return tensors
