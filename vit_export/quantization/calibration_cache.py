"""Activation statistics of a folder of images, kept on disk between runs.

Files stand in $VIT_EXPORT_CACHE, or in the user's cache folder. They are named after the SHA-256 of
all that they depend on, and hold the SHA-256 of their content. A file that cannot be read, or that
was changed, counts as missing; a folder that cannot be written to is not used. Other files in the
folder are never touched.
"""

import hashlib
import json
import os
import re
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

LAYOUT = 4
"""Version of the files' content; it rises when lowering or observing changes."""
MAX_BYTES = 2 * 2**30
"""Maximum size of all files together; the least recently used are deleted first."""
SUFFIX, TEMPORARY_SUFFIX = ".safetensors", ".unfinished"
HOUR_SECONDS = 3600
OWN_NAME = re.compile(r"[0-9a-f]{64}" + re.escape(SUFFIX))
TEMPORARY_NAME = re.compile(r"[0-9a-f]{64}\.[0-9a-f]{32}" + re.escape(TEMPORARY_SUFFIX))
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
            text, digest = (file.metadata()[word] for word in ("stats", "sha256"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 no mapping
        if _digest(tensors, text) != digest:
            return None
        header = json.loads(text)
        stats = {name: _restore(tensors, name, counts) for name, counts in header["layers"].items()}
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
        text = json.dumps({"layers": layers, "notes": notes})
        save_file(tensors, temporary, {"stats": text, "sha256": _digest(tensors, text)})
        temporary.rename(path)
        _delete_oldest(path.parent)
    with suppress(OSError):
        temporary.unlink(missing_ok=True)


def _restore(
    tensors: "Mapping[str, Tensor]", name: str, counts: Mapping[str, Any]
) -> ActivationStats:
    fields: dict[str, Any] = {word: tensors[f"{name}/{word}"] for word in TENSORS}
    return ActivationStats(**counts, **fields)


def _digest(tensors: "Mapping[str, Tensor]", text: str) -> str:
    """Return the SHA-256 of all that a file says."""
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _locate(key: str) -> Path:
    return find_folder() / f"{key}{SUFFIX}"


def _delete_oldest(folder: Path) -> None:
    files = [file for file in folder.iterdir() if file.is_file() and not file.is_symlink()]
    for file in files:  # left by killed processes
        if TEMPORARY_NAME.fullmatch(file.name) and file.stat().st_mtime < time() - HOUR_SECONDS:
            file.unlink()
    own = [file for file in files if OWN_NAME.fullmatch(file.name)]
    total = 0
    for file in sorted(own, key=lambda one: one.stat().st_mtime, reverse=True):
        total += file.stat().st_size
        if total > MAX_BYTES:
            file.unlink()
