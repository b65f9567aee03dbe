"""The three libraries that make engines, in the order in which `--engine auto` tries them."""

from dataclasses import dataclass
from typing import Any

from vit_export.backends.tensorrt.compute_capability import list_default_capabilities
from vit_export.backends.tensorrt.cuda import Gpu
from vit_export.backends.tensorrt.engine import build_engine
from vit_export.backends.tensorrt.engine_info import EngineInfo
from vit_export.backends.tensorrt.session import EngineSession
from vit_export.backends.tensorrt.torch_tensorrt import TORCH_TENSORRT
from vit_export.backends.tensorrt.variant import (
    Variant,
    explain_gpu,
    find_lack,
    find_obstacle,
    load_library,
    missing_error,
)
from vit_export.core.errors import MissingError


def have_no_version(version: str) -> str:  # noqa: ARG001 the signature of Variant.tensorrt_version
    """Return an empty text: TensorRT for RTX has version numbers of its own."""
    return ""


TENSORRT = Variant(
    name="tensorrt",
    title="TensorRT",
    module="tensorrt",
    package="tensorrt",
    needs_gpu=True,
    refused_options={
        "gpu": "TensorRT builds for the GPU that it runs on; --hardware says for which others",
    },
    build=build_engine,
    open=EngineSession,
)
RTX = Variant(
    name="rtx",
    title="TensorRT for RTX",
    module="tensorrt_rtx",
    package="tensorrt-rtx",
    needs_gpu=False,
    serves_many_gpus=True,
    refused_options={
        "level": "TensorRT for RTX optimizes in one way",
        "timing_cache": "TensorRT for RTX times nothing while it builds",
        "hardware": "engines of TensorRT for RTX run on every GPU that it names from Ampere on, "
        "or on those of --gpu",
        "version_compatible": "engines of TensorRT for RTX load in the release that built them, "
        "and no other",
    },
    build=build_engine,
    open=EngineSession,
    tensorrt_version=have_no_version,
)
VARIANTS: dict[str, Variant] = {one.name: one for one in (TENSORRT, RTX, TORCH_TENSORRT)}
ANYWHERE = RTX
"""The variant to recommend where none is installed: it builds with and without a GPU."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The variant that builds an engine, and why those before it do not."""

    variant: Variant
    library: Any
    """Its module."""
    passed_over: tuple[str, ...] = ()
    """One sentence for each variant that does not work here."""

    @property
    def default_capabilities(self) -> tuple[str, ...]:
        """Compute capabilities that it compiles for without --gpu; none for the GPU here alone."""
        many = self.variant.serves_many_gpus
        return list_default_capabilities(self.library) if many else ()

    @property
    def version(self) -> str:
        """Version of the module."""
        return str(self.library.__version__)


def choose(name: str, gpu: Gpu | None, *, builds_for_here: bool = True) -> Choice:
    """Return the variant called `name`; for `auto` the first that works here.

    Args:
        name: a name of VARIANTS, or auto.
        gpu: the GPU that is here.
        builds_for_here: whether the engine is for this GPU, and not for others that --gpu names.

    Raises:
        MissingError: it does not work here, or none does.
    """
    if name != "auto":
        variant = VARIANTS[name]
        reason = find_obstacle(variant, gpu, builds_for_here=builds_for_here)
        if reason:
            raise missing_error(variant, reason)
        return Choice(variant=variant, library=load_library(variant))
    passed_over: list[str] = []
    for variant in VARIANTS.values():
        reason = find_obstacle(variant, gpu, builds_for_here=builds_for_here)
        if not reason:
            library = load_library(variant)
            return Choice(variant=variant, library=library, passed_over=tuple(passed_over))
        passed_over.append(f"{variant.name}: {reason}")
    message = f"No TensorRT works here: {'; '.join(passed_over)}."
    raise MissingError(message, f"pip install {ANYWHERE.package}")


def find_variant(info: EngineInfo) -> Variant:
    """Return the variant that built an engine, which is the one that opens it."""
    return VARIANTS[info.kind]


def describe_machine(gpu: Gpu | None) -> str:
    """Return which variants work with this GPU and which do not."""
    lacks = [f"{one.name}: {_explain(one, gpu) or 'yes'}" for one in VARIANTS.values()]
    where = f"{gpu.name} ({gpu.capability})" if gpu else "none"
    return f"GPU: {where}. Engines: {'; '.join(lacks)}."


def _explain(variant: Variant, gpu: Gpu | None) -> str:
    """Return why `variant` does not work here; a library is imported where the GPU is unusual."""
    reason = find_lack(variant, gpu)
    if reason or gpu is None or not explain_gpu(variant, gpu):
        return reason
    return find_obstacle(variant, gpu)
