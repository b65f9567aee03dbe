"""One library that builds and opens engines, and whether it works on this machine."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vit_export.artifact.manifest import Manifest
from vit_export.artifact.precision import QuantizationRequest
from vit_export.backends.defaults import accept_request
from vit_export.backends.job import Job
from vit_export.backends.session import Session
from vit_export.backends.tensorrt.builder_config import BuilderOptions
from vit_export.backends.tensorrt.compute_capability import list_capabilities
from vit_export.backends.tensorrt.cuda import Gpu
from vit_export.backends.tensorrt.engine_info import EngineInfo, Kind
from vit_export.core.errors import MissingError
from vit_export.core.progress import Progress

NO_GPU = "no GPU here"
NOT_INSTALLED = "not installed"
BROKEN = "it is installed and can't be imported"
OTHER_GPUS = "it compiles for compute capability "
"""How the reason begins where a library names other GPUs than the one that is here."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EngineJob:
    """What a variant builds an engine from."""

    job: Job
    path: Path
    """Where the engine is written; its graph and its manifest stand beside it."""
    library: Any
    """The variant's module."""
    options: BuilderOptions
    info: EngineInfo
    """What is known of the engine before it is built."""
    stage: str
    """The name of the stage that takes long."""
    progress: Progress


def use_own_version(version: str) -> str:
    """Return the version of TensorRT inside a library that is TensorRT itself."""
    return version


def describe_network(info: EngineInfo) -> str:
    """Return in words the number of layers of the parsed network, and of matmuls by arithmetic."""
    matmuls = ", ".join(f"{n} in {name}" for name, n in (info.network_matmuls or {}).items())
    return f"{info.layers} layers, matmuls: {matmuls}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Variant:
    """A library of the TensorRT family: a value of --engine."""

    name: Kind
    title: str
    module: str
    package: str
    """The pip name."""
    needs_gpu: bool
    """Whether it needs a GPU to build. Every variant needs one to run."""
    serves_many_gpus: bool = False
    """Whether its engines run on every GPU that it names from Ampere on, or on those of --gpu."""
    refused_options: Mapping[str, str] = field(default_factory=dict)
    """Options that it does not support, each with the reason."""
    check_request: Callable[[QuantizationRequest, Mapping[str, Any]], None] = accept_request
    """Raise RequestError unless it can build what is requested."""
    build: Callable[[EngineJob], tuple[Manifest, EngineInfo]]
    """Write an engine; return its manifest so far, and what is known of the engine now."""
    open: Callable[[Path, Any, Manifest], Session]
    """Open an engine with the variant's module and the manifest beside it."""
    tensorrt_version: Callable[[str], str] = use_own_version
    """Return the version of TensorRT inside a version of the library; empty where it has none."""
    describe_network: Callable[[EngineInfo], str] = describe_network
    """Return in words what the network of an engine consists of."""


def load_library(variant: Variant) -> Any:
    """Return the module of `variant`.

    Raises:
        MissingError: it is not installed, or cannot be imported.
    """
    if find_spec(variant.module) is None:
        raise missing_error(variant, NOT_INSTALLED)
    reason = _try_import(variant)
    if reason:
        raise missing_error(variant, reason)
    return import_module(variant.module)


def find_obstacle(variant: Variant, gpu: Gpu | None, *, builds_for_here: bool = True) -> str:
    """Return why `variant` cannot build here; empty where it can.

    Args:
        variant: a library.
        gpu: the GPU that is here.
        builds_for_here: whether the engine is for this GPU, and not for others that --gpu names.
    """
    reason = find_lack(variant, gpu) or _try_import(variant)
    if reason or gpu is None or not builds_for_here:
        return reason
    return explain_gpu(variant, gpu, import_module(variant.module))


def explain_gpu(variant: Variant, gpu: Gpu, library: Any = None) -> str:
    """Return why the engines of `variant` do not run on this GPU; empty where they may.

    Args:
        variant: a library.
        gpu: the GPU that is here.
        library: its module, which names the GPUs that its version compiles for.
    """
    capabilities = list_capabilities(library)
    if not variant.serves_many_gpus or gpu.capability in capabilities:
        return ""
    return f"{OTHER_GPUS}{', '.join(capabilities)}, and here is a {gpu.name} of {gpu.capability}"


def find_lack(variant: Variant, gpu: Gpu | None) -> str:
    """Return what `variant` lacks here, without importing it."""
    if find_spec(variant.module) is None:
        return NOT_INSTALLED
    return f"{NO_GPU}, and it builds on one" if variant.needs_gpu and gpu is None else ""


def _try_import(variant: Variant) -> str:
    """Return why an installed module cannot be imported; empty where it can."""
    try:
        import_module(variant.module)
    except Exception as error:  # noqa: BLE001 whatever its own libraries lack, the reason is shown
        reason = str(error).partition("\n")[0]
        return f"{BROKEN} ({reason})"
    return ""


def missing_error(variant: Variant, reason: str) -> MissingError:
    """Return the error of a variant that does not work here, with what to do about `reason`."""
    fix = f"pip install {variant.package}"
    if reason.startswith(BROKEN):
        fix = f"pip install --force-reinstall {variant.package}, or take another --engine."
    if reason.startswith(OTHER_GPUS):
        fix = "pip install tensorrt, and take --engine tensorrt; or name GPUs elsewhere: --gpu ada."
    if reason.startswith(NO_GPU):
        fix = "build where the GPU is, or take --engine rtx, which needs none."
    return MissingError(f"{variant.title}: {reason}.", fix)
