"""What layers saw of a folder of images, kept between runs: the same folder is looked at once.

Files lie in $VIT_EXPORT_CACHE, or where the system keeps caches, under the SHA-256 of all that they
depend on. A file that can't be read is no file, and a folder that can't be written is no cache.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from vit_export.quantize.equalize import Seen
from vit_export.quantize.observe import Observed

if TYPE_CHECKING:
    from torch import Tensor

MOST_BYTES = 2 * 2**30
"""Of all files together; the least recently used go first."""
SUMS = ("total", "low", "high")
COUNTS = ("rows_per_image", "rows_of_one", "count")


def folder() -> Path:
    """Where the files lie."""
    given = os.environ.get("VIT_EXPORT_CACHE")
    usual = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(given) if given else Path(usual) / "vit-export"


def load(key: str) -> tuple[Seen, dict[str, Any]] | None:
    """What was kept under `key`, and what was told of it; None where nothing was."""
    path = _path(key)
    try:
        with safe_open(path, "pt") as file:
            told = json.loads(file.metadata()["told"])
            seen = {n: _observed(file, n, counts) for n, counts in told["layers"].items()}
        os.utime(path)  # it was used
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None
    return seen, told["told"]


def store(key: str, seen: Seen, told: Mapping[str, Any]) -> None:
    """Keeps what layers have seen under `key`, where that can be written."""
    tensors: dict[str, Tensor] = {}
    for name, one in seen.items():
        tensors |= {f"{name}/{word}": getattr(one, word) for word in SUMS}
        tensors[f"{name}/rows"] = one.rows
    layers = {n: {word: getattr(one, word) for word in COUNTS} for n, one in seen.items()}
    path = _path(key)
    unfinished = path.with_suffix(f".{os.getpid()}")
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
    files = sorted(place.glob("*.safetensors"), key=lambda one: one.stat().st_mtime, reverse=True)
    total = 0
    for file in files:
        total += file.stat().st_size
        if total > MOST_BYTES:
            file.unlink()
