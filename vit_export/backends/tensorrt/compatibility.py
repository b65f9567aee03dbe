"""Checks whether an engine loads on this machine, before anything opens it."""

from pathlib import Path
from typing import Any

from vit_export.backends.session import NotHereError
from vit_export.backends.tensorrt.compute_capability import (
    OLDEST,
    describe_capabilities,
    list_default_capabilities,
    parse_version,
)
from vit_export.backends.tensorrt.cuda import Gpu, find_gpu
from vit_export.backends.tensorrt.engine_info import EngineInfo
from vit_export.backends.tensorrt.logger import hold_garbage, make_logger
from vit_export.backends.tensorrt.sidecar import hash_file
from vit_export.backends.tensorrt.variant import NO_GPU, Variant, explain_gpu, load_library
from vit_export.core.errors import MissingError, RequestError
from vit_export.core.private_folder import find_private_folders

REBUILD = "build it again here, or where such a GPU is."
OTHER_GPU = "take it where such a GPU is; for this one: pip install tensorrt, and build it again."
NOT_CHECKABLE = "not checkable here"
"""What an invalid engine means where there is no driver: the validity API gives no reason then."""
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


def check_loads(path: Path, info: EngineInfo, variant: Variant) -> Any:
    """Return the module that loads the engine at `path`.

    The version is checked first, then the file itself, then the GPU.

    Raises:
        RequestError: the file is cut off, or another one.
        NotHereError: another version is installed, or there is no GPU or another one.
    """
    library = _check_version(path, info, variant)
    _check_whole(path, info)
    gpu = find_gpu()
    if gpu is None:
        message = f"{path} is {NOT_CHECKABLE}: {NO_GPU}."
        raise NotHereError(message, f"on the device: vit-export validate {path.name}", NO_GPU)
    reason = explain_gpu(variant, gpu, library)
    if reason:
        reason = f"{variant.title}: {reason}"
        raise NotHereError(f"{path} will not load here. {reason}.", OTHER_GPU, reason)
    reason = _find_mismatch(info, variant, gpu, library)
    if reason:
        raise NotHereError(f"{path} will not load here: {reason}.", REBUILD, reason)
    return library


def _check_version(path: Path, info: EngineInfo, variant: Variant) -> Any:
    """Return the variant's module if its version loads the engine."""
    version = info.version
    fix = f"pip install {variant.package}=={version}"
    try:
        library = load_library(variant)
    except MissingError as error:
        reason = f"it needs {variant.title} {version}: {error.message}"
        raise NotHereError(f"{path} will not load here: {reason}", fix, reason) from None
    installed = str(library.__version__)
    if installed == version or (info.version_compatible and _is_later(installed, version)):
        return library
    reason = f"it was built by {variant.title} {version}, and {installed} is here"
    fix = f"{fix}, or build it again with {installed}."
    raise NotHereError(f"{path} will not load here: {reason}.", fix, reason)


def _is_later(installed: str, version: str) -> bool:
    """Return whether `installed` is at least `version`, with the same major number."""
    here, there = parse_version(installed), parse_version(version)
    return here[:1] == there[:1] and here >= there


def _check_whole(path: Path, info: EngineInfo) -> None:
    """Raise RequestError unless the file has the size and the SHA-256 of its manifest.

    An export replaces the manifest first and then the engine. If it is killed in between, its
    staging folder stays, until the next export.
    """
    size, expected = path.stat().st_size, info.size_bytes or 0
    is_same = size == expected and hash_file(path) == info.sha256
    if not is_same and find_private_folders(path):
        message = f"{path} was being replaced when its export ended: its manifest is a newer one's."
        raise RequestError(message, "export it again.")
    if size != expected:
        how = "cut off" if size < expected else "another file"
        message = f"{path} is {how}: it has {size:,} bytes, and {expected:,} were written."
        raise RequestError(message, "copy it again.")
    if not is_same:
        message = f"{path} is damaged, or not the engine that its manifest describes (SHA-256)."
        raise RequestError(message, "copy it and its .json again.")


def _find_mismatch(info: EngineInfo, variant: Variant, gpu: Gpu, library: Any) -> str:
    """Return why the engine is not for this GPU; empty where it is."""
    capabilities = _find_capabilities(info, variant, library)
    if gpu.capability in capabilities:
        return ""
    if not capabilities and parse_version(gpu.capability) >= parse_version(OLDEST):
        return ""
    here = f"{gpu.name} of compute capability {gpu.capability}"
    return f"it is for {describe_capabilities(capabilities)}, and here is a {here}"


def _find_capabilities(info: EngineInfo, variant: Variant, library: Any) -> tuple[str, ...]:
    """Return the compute capabilities that an engine runs on; none for all from 8.0 on."""
    if variant.serves_many_gpus:
        return info.capabilities or list_default_capabilities(library)
    if info.hardware == "ampere-plus":
        return info.capabilities
    return (info.gpu.capability if info.gpu is not None else "unknown",)


@hold_garbage()
def describe_validity(library: Any, engine: Any) -> str:
    """Return what the validity API says of an engine's bytes; empty where a library has none."""
    runtime = library.Runtime(make_logger(library))
    if not hasattr(runtime, "get_engine_validity"):
        return ""
    answer, reasons = runtime.get_engine_validity(engine)
    if answer.name == "INVALID" and int(reasons) in {0, _reason_bit(library, "CUDA_ERROR")}:
        return NOT_CHECKABLE
    names = [one for one in REASONS if int(reasons) & _reason_bit(library, one)]
    return ": ".join(filter(None, (answer.name.lower(), ", ".join(names).lower())))


def _reason_bit(library: Any, reason: str) -> int:
    return int(getattr(library.EngineInvalidityDiagnostics, reason, 0))
