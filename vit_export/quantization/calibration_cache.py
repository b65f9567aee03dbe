"""Activation statistics of a folder of images, kept on disk between runs.

Files stand in $VIT_EXPORT_CACHE, or in the user's cache folder. They are named after the SHA-256 of
all that they depend on. A file that cannot be read counts as missing; a folder that cannot be
written to is not used.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from vit_export.quantization.observer import ActivationStats, LayerStats

if TYPE_CHECKING:
    from torch import Tensor

LAYOUT = 3
"""Version of the files' content; it rises when lowering or observing changes."""
MAX_BYTES = 2 * 2**30
"""Maximum size of all files together; the least recently used are deleted first."""
TEMPORARY_SUFFIX, HOUR_SECONDS = ".unfinished", 3600
TENSORS = ("total", "low", "high", "rows")
COUNTS = ("images", "rows_per_image", "count")


def find_folder() -> Path:
    """The folder of the cache; it need not exist."""
    override = os.environ.get("VIT_EXPORT_CACHE")
    if override:
        return Path(override)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "vit-export")


def load(key: str) -> tuple[LayerStats, dict[str, Any]] | None:
    """The statistics and notes that `store` wrote under `key`; None if they are missing."""
    try:
        path = _locate(key)
        with safe_open(path, "pt") as file:
            header = json.loads(file.metadata()["stats"])
            stats = {name: _read(file, name, counts) for name, counts in header["layers"].items()}
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError):
        return None  # Path raises RuntimeError for a user without a home
    with suppress(OSError):  # the file may belong to another user
        os.utime(path)  # the least recently used files are deleted first
    return stats, header["notes"]


def store(key: str, stats: LayerStats, notes: Mapping[str, Any]) -> None:
    """Write `stats` and `notes`, which JSON can hold, under `key`; do nothing if that fails."""
    tensors: dict[str, Tensor] = {}
    for name, layer in stats.items():
        tensors |= {f"{name}/{word}": getattr(layer, word) for word in TENSORS}
    layers = {n: {word: getattr(layer, word) for word in COUNTS} for n, layer in stats.items()}
    try:
        path = _locate(key)
    except RuntimeError:
        return
    temporary = path.with_suffix(f".{uuid4().hex}{TEMPORARY_SUFFIX}")
    with suppress(OSError, SafetensorError):
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, temporary, {"stats": json.dumps({"layers": layers, "notes": notes})})
        temporary.rename(path)
        _delete_oldest(path.parent)
    with suppress(OSError):
        temporary.unlink(missing_ok=True)


def _read(file: Any, name: str, counts: Mapping[str, Any]) -> ActivationStats:
    tensors = {word: file.get_tensor(f"{name}/{word}") for word in TENSORS}
    return ActivationStats(**counts, **tensors)


def _locate(key: str) -> Path:
    return find_folder() / f"{key}.safetensors"


def _delete_oldest(folder: Path) -> None:
    for file in folder.glob(f"*{TEMPORARY_SUFFIX}"):  # left by killed processes
        if file.stat().st_mtime < time() - HOUR_SECONDS:
            file.unlink()
    files = sorted(folder.glob("*.safetensors"), key=lambda one: one.stat().st_mtime, reverse=True)
    total = 0
    for file in files:
        total += file.stat().st_size
        if total > MAX_BYTES:
            file.unlink()
