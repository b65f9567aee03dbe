"""What layers saw of a folder of images, kept between runs: the same folder is looked at once.

Files lie in $VIT_EXPORT_CACHE, or where the system keeps caches, under the SHA-256 of all that they
depend on. A file that can't be read is no file, and a folder that can't be written is no cache.
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

from vit_export.quantization.observer import Observed
from vit_export.quantization.smoothquant import Seen

if TYPE_CHECKING:
    from torch import Tensor

LAYOUT = 2
"""Of what is kept: to be raised whenever layers are lowered or looked at in another way."""
MOST_BYTES = 2 * 2**30
"""Of all files together; the least recently used go first."""
UNFINISHED, HOUR = ".unfinished", 3600
SUMS = ("total", "low", "high")
COUNTS = ("images", "rows_of_one", "count")


def folder() -> Path:
    """Where the files lie."""
    given = os.environ.get("VIT_EXPORT_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "vit-export")


def load(key: str) -> tuple[Seen, dict[str, Any]] | None:
    """What was kept under `key`, and what was told of it; None where nothing was."""
    try:
        path = _path(key)
        with safe_open(path, "pt") as file:
            told = json.loads(file.metadata()["told"])
            seen = {n: _observed(file, n, counts) for n, counts in told["layers"].items()}
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError):
        return None  # a RuntimeError is of Path, where a user has no home
    with suppress(OSError):  # another user's
        os.utime(path)  # it was used
    return seen, told["told"]


def store(key: str, seen: Seen, told: Mapping[str, Any]) -> None:
    """Keeps what layers have seen under `key`, where that can be written."""
    tensors: dict[str, Tensor] = {}
    for name, one in seen.items():
        tensors |= {f"{name}/{word}": getattr(one, word) for word in SUMS}
        tensors[f"{name}/rows"] = one.rows
    layers = {n: {word: getattr(one, word) for word in COUNTS} for n, one in seen.items()}
    try:
        path = _path(key)
    except RuntimeError:
        return
    unfinished = path.with_suffix(f".{uuid4().hex}{UNFINISHED}")
    with suppress(OSError, SafetensorError):
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, unfinished, {"told": json.dumps({"layers": layers, "told": told})})
        unfinished.rename(path)
        _keep_newest(path.parent)
    with suppress(OSError):
        unfinished.unlink(missing_ok=True)


def _observed(file: Any, name: str, counts: Mapping[str, Any]) -> Observed:
    sums = {word: file.get_tensor(f"{name}/{word}") for word in SUMS}
    rows = file.get_tensor(f"{name}/rows")
    return Observed(**counts, **sums, kept=rows, filled=len(rows))


def _path(key: str) -> Path:
    return folder() / f"{key}.safetensors"


def _keep_newest(place: Path) -> None:
    for file in place.glob(f"*{UNFINISHED}"):  # of processes that were killed
        if file.stat().st_mtime < time() - HOUR:
            file.unlink()
    files = sorted(place.glob("*.safetensors"), key=lambda one: one.stat().st_mtime, reverse=True)
    total = 0
    for file in files:
        total += file.stat().st_size
        if total > MOST_BYTES:
            file.unlink()
