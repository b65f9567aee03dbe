"""Checkpoints read safely: a weights file, or a folder with JSON files beside the weights.

Weights are safetensors, in one file or in shards, or a pickle, which is read with
`weights_only=True` and so can't execute anything. Files of several gigabytes are mapped into
memory; smaller ones are copied.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load, load_file
from torch import Tensor

from vit_export.checkpoints.pickles import (
    GIVE_CHECKPOINT,
    MAX_COPIED_BYTES,
    PICKLE_SUFFIXES,
    Weights,
    is_pickle,
    read_pickle,
)
from vit_export.core.errors import RequestError

WEIGHTS_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""Names that a folder is searched for, in this order; else its only weights file is read."""
NOT_WEIGHTS = (
    "copy it again; pickles end in .pt, .pth or .bin. In place of an exported file, "
    f"{GIVE_CHECKPOINT}"
)
MAX_NAMES = 3
"""Number of tensors that one error lists."""
MAX_TENSORS = 20_000
"""Most tensors of a checkpoint: the largest published ViTs have about a thousand."""
PREFIXES = ("module.", "_orig_mod.", "model.", "timm_model.")
"""Prefixes that DataParallel, torch.compile, Lightning and TimmWrapper put before every name."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """Tensors under the names of their file, and the JSON files beside it."""

    path: Path
    """The file or folder that the user named."""
    tensors: dict[str, Tensor]
    keys: tuple[str, ...] = ()
    """Keys under which a pickle keeps the tensors, outermost first."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Content of config.json: the architecture and the labels."""
    processor: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the image processor.

    They come from processor_config.json (`transformers` 5), else from preprocessor_config.json.
    """


def read_checkpoint(
    path: Path, *, prefix: str | None = None, base: Path | None = None
) -> Checkpoint:
    """Return the checkpoint at `path`, a file or a folder.

    Args:
        path: the file or the folder.
        prefix: prefix of the tensors to read, which their names lose; None reads all.
        base: the checkpoint that an adapter at `path` belongs to.

    Raises:
        RequestError: the checkpoint is missing, truncated or no weights file, or it is a pickle of
            more than tensors.
    """
    file = _find_weights_file(path) if path.is_dir() else path
    weights = _read_shards(file) if file.name.endswith(".index.json") else _read_file(file)
    if base is not None:
        raise RequestError(f"{path} is no adapter.", "leave --base out.")
    if not weights.tensors:
        raise RequestError(f"{file} holds no tensors.", "save model.state_dict().")
    if len(weights.tensors) > MAX_TENSORS:
        message = f"{file} holds {len(weights.tensors):,} tensors, and {MAX_TENSORS:,} is the most."
        raise RequestError(message, "save the state dict of one model.")
    return Checkpoint(
        path=path,
        tensors=_select(weights.tensors, prefix, file),
        keys=weights.keys,
        config=_read_json(file.parent / "config.json", optional=True),
        processor=_read_processor(file.parent),
    )


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Return the tensors of the checkpoint at `path`.

    Raises:
        RequestError: as in `read_checkpoint`.
    """
    return read_checkpoint(path).tensors


def _find_weights_file(folder: Path) -> Path:
    for name in WEIGHTS_FILES:
        if (folder / name).is_file():
            return folder / name
    suffixes = PICKLE_SUFFIXES | {".safetensors"}
    files = [path for path in sorted(folder.iterdir()) if path.suffix in suffixes]
    if len(files) == 1:
        return files[0]
    names = ", ".join(path.name for path in files) or "none"
    message = f"{folder} holds no model.safetensors; its other weights files: {names}."
    raise RequestError(message, "name the file.")


def _read_processor(folder: Path) -> dict[str, Any]:
    settings = _read_json(folder / "processor_config.json", optional=True).get("image_processor")
    return settings or _read_json(folder / "preprocessor_config.json", optional=True)


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


def _read_shards(index: Path) -> Weights:
    names = _read_json(index).get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(n, str) for n in names.values()):
        raise RequestError(f"{index} has no weight_map of names to files.", "copy it again.")
    tensors: dict[str, Tensor] = {}
    for shard in sorted(set(names.values())):
        tensors |= _read_file(index.parent / Path(shard).name).tensors
    missing = [name for name in names if name not in tensors]
    if missing:
        listing = ", ".join(missing[:MAX_NAMES]) + (", …" if len(missing) > MAX_NAMES else "")
        message = f"{index} lists {len(missing)} tensors that its files do not hold: {listing}."
        raise RequestError(message, "copy the files again, all from one place.")
    return Weights(tensors)


def _read_file(path: Path) -> Weights:
    if not path.is_file():
        raise RequestError(f"{path}: no such weights file.", "check the path.")
    if is_pickle(path):
        return read_pickle(path)
    try:
        is_copied = path.stat().st_size <= MAX_COPIED_BYTES
        return Weights(load(path.read_bytes()) if is_copied else load_file(path))
    except Exception as error:  # noqa: BLE001 damaged bytes make a reader raise anything
        message = f"{path} is not a whole safetensors file ({error})."
        raise RequestError(message, NOT_WEIGHTS) from None


def _select(tensors: dict[str, Tensor], prefix: str | None, file: Path) -> dict[str, Tensor]:
    """Return the tensors with a prefix, without it; without a prefix, all that usual ones allow."""
    if prefix is None:
        return _strip_prefixes(tensors)
    selected = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
    if selected:
        return selected
    first = ", ".join(list(tensors)[:MAX_NAMES])
    message = f"{file}: no tensor begins with {prefix!r}; the first are {first}."
    raise RequestError(message, "give --prefix as the names begin, with its dot.")


def _strip_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for _ in PREFIXES:  # they may stand in any order
        for prefix in PREFIXES:
            if tensors and all(name.startswith(prefix) for name in tensors):
                tensors = {name.removeprefix(prefix): t for name, t in tensors.items()}
    return tensors
