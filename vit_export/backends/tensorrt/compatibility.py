"""Whether an engine will load on this machine, and in words why not: before anything opens it."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vit_export.backends.session import NotHereError
from vit_export.backends.tensorrt.compute_capability import LEAST, in_words, numbers_of
from vit_export.backends.tensorrt.driver import Gpu, find_gpu
from vit_export.backends.tensorrt.logger import log_of, uncollected
from vit_export.backends.tensorrt.variants import KINDS, NO_GPU, Kind, load
from vit_export.core.errors import MissingError, RequestError

REBUILD = "build it again here, or where such a GPU is."
NOT_CHECKABLE = "not checkable here"
"""What the validity API means where there is no driver: it answers INVALID, and says no reason."""


def check_loads(path: Path, told: Mapping[str, Any]) -> Any:
    """The library that loads the engine at `path`, of which its manifest has `told`.

    Version first, then the file itself, then the GPU.

    Raises:
        RequestError: the file is cut off, or another one.
        NotHereError: another version is installed, no GPU is here, or another one.
    """
    library = _check_version(path, KINDS[str(told["kind"])], told)
    _check_whole(path, told)
    gpu = find_gpu()
    if gpu is None:
        message = f"{path} is {NOT_CHECKABLE}: {NO_GPU}."
        raise NotHereError(message, f"on the device: vit-export validate {path.name}", NO_GPU)
    _check_gpu(path, told, gpu)
    return library


def _check_version(path: Path, kind: Kind, told: Mapping[str, Any]) -> Any:
    """The library, when it is of a version that loads the engine."""
    built = str(told["version"])
    fix = f"pip install {kind.package}=={built}"
    try:
        library = load(kind)
    except MissingError as error:
        reason = f"it needs {kind.title} {built}: {error.message}"
        raise NotHereError(f"{path} will not load here: {reason}", fix, reason) from None
    found = str(library.__version__)
    if found == built or (told.get("version_compatible") and _newer(found, built)):
        return library
    reason = f"it was built by {kind.title} {built}, and {found} is here"
    fix = f"{fix}, or build it again with {found}."
    raise NotHereError(f"{path} will not load here: {reason}.", fix, reason)


def _newer(found: str, built: str) -> bool:
    """Version-compatible engines load in later versions of the same major number."""
    here, there = numbers_of(found), numbers_of(built)
    return here[0] == there[0] and here >= there


def _check_whole(path: Path, told: Mapping[str, Any]) -> None:
    size, wanted = path.stat().st_size, int(told["size_bytes"])
    if size != wanted:
        how = "cut off" if size < wanted else "another file"
        message = f"{path} is {how}: it has {size:,} bytes, and {wanted:,} were written."
        raise RequestError(message, "copy it again.")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != told["sha256"]:
        message = f"{path} is damaged, or not the engine that its manifest is of (SHA-256)."
        raise RequestError(message, "copy it and its .json again.")


def _check_gpu(path: Path, told: Mapping[str, Any], gpu: Gpu) -> None:
    wanted = _wanted(told)
    if gpu.capability in wanted:
        return
    if not wanted and numbers_of(gpu.capability) >= numbers_of(LEAST):
        return
    here = f"{gpu.name} of compute capability {gpu.capability}"
    reason = f"it is for {in_words(wanted)}, and here is a {here}"
    raise NotHereError(f"{path} will not load here: {reason}.", REBUILD, reason)


def _wanted(told: Mapping[str, Any]) -> tuple[str, ...]:
    """Capabilities of which a GPU needs one; none where everything after Ampere will do."""
    if told["kind"] == "rtx" or told.get("hardware") == "ampere-plus":
        return tuple(told.get("capabilities") or ())
    gpu = told.get("gpu") or {}
    return (str(gpu.get("capability")),)


@uncollected()
def validity(library: Any, engine: Any) -> str:
    """What the validity API says of an engine's bytes; empty where a library has none."""
    runtime = library.Runtime(log_of(library))
    if not hasattr(runtime, "get_engine_validity"):
        return ""
    answer, reasons = runtime.get_engine_validity(engine)
    if answer.name == "INVALID" and int(reasons) in {0, library_value(library, "CUDA_ERROR")}:
        return NOT_CHECKABLE
    names = [one for one in REASONS if int(reasons) & library_value(library, one)]
    return ": ".join(filter(None, (answer.name.lower(), ", ".join(names).lower())))


REASONS = (
    "VERSION_MISMATCH",
    "UNSUPPORTED_CC",
    "OLD_CUDA_DRIVER",
    "OLD_CUDA_RUNTIME",
    "INSUFFICIENT_GPU_MEMORY",
    "MALFORMED_ENGINE",
    "CUDA_ERROR",
)
"""Bits of EngineInvalidityDiagnostics."""


def library_value(library: Any, reason: str) -> int:
    """The bit of a reason."""
    return int(getattr(library.EngineInvalidityDiagnostics, reason, 0))
