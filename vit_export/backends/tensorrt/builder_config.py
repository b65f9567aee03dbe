"""How TensorRT's builder is configured for an engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from vit_export.backends.tensorrt.compute_capability import parse_capabilities
from vit_export.core.errors import RequestError

MB = 2**20
DEFAULT_LEVEL = 3
"""The builder's own default (IBuilderConfig.builder_optimization_level)."""
HARDWARE = {
    "none": "NONE",
    "ampere-plus": "AMPERE_PLUS",
    "same-capability": "SAME_COMPUTE_CAPABILITY",
}
"""TensorRT's HardwareCompatibilityLevel by value of --hardware."""


@dataclass(frozen=True, kw_only=True)
class BuilderOptions:
    """What the builder needs to know besides the graph and its profiles."""

    workspace_mb: int = 0
    """Limit of scratch memory; 0 is no limit."""
    level: int = DEFAULT_LEVEL
    timing_cache: Path | None = None
    hardware: str = "none"
    version_compatible: bool = False
    capabilities: tuple[str, ...] = ()
    """Compute capabilities to compile for; empty for the library's default."""
    strip_weights: bool = False
    refit: bool = False

    @classmethod
    def parse(cls, options: Mapping[str, Any]) -> Self:
        """Return the part of the backend's options that the builder needs.

        Raises:
            RequestError: a GPU of --gpu is not known.
        """
        cache = str(options["timing_cache"])
        return cls(
            workspace_mb=int(options["workspace"]),
            level=int(options["level"]),
            timing_cache=Path(cache) if cache else None,
            hardware=str(options["hardware"]),
            version_compatible=bool(options["version_compatible"]),
            capabilities=parse_capabilities(str(options["gpu"])),
            strip_weights=bool(options["strip_weights"]),
            refit=bool(options["refit"]),
        )


def configure(library: Any, config: Any, options: BuilderOptions) -> None:
    """Set a builder's `config` to `options`.

    Raises:
        RequestError: this version of the library lacks an option, or the timing cache is another
            GPU's.
    """
    flags = library.BuilderFlag
    config.clear_flag(flags.TF32)  # it rounds fp32 to ten bits: then the file would not be fp32
    config.profiling_verbosity = library.ProfilingVerbosity.DETAILED  # so the inspector has types
    if options.workspace_mb:
        pool = library.MemoryPoolType.WORKSPACE
        config.set_memory_pool_limit(pool, options.workspace_mb * MB)
    if options.level != BuilderOptions.level:
        config.builder_optimization_level = options.level
    if options.refit:
        config.set_flag(flags.REFIT)
    if options.strip_weights:
        config.set_flag(flags.STRIP_PLAN)
        if not options.refit:  # REFIT may drop biases (release notes of 11.3)
            config.set_flag(flags.REFIT_IDENTICAL)
    if options.version_compatible:
        config.set_flag(flags.VERSION_COMPATIBLE)
    if options.hardware != BuilderOptions.hardware:
        config.hardware_compatibility_level = _hardware_level(library, options.hardware)
    _set_capabilities(library, config, options.capabilities)
    _set_timing_cache(config, options.timing_cache)


def _hardware_level(library: Any, name: str) -> Any:
    level = getattr(library.HardwareCompatibilityLevel, HARDWARE[name], None)
    if level is None:
        message = f"TensorRT {library.__version__} has no hardware compatibility {name}."
        raise RequestError(message, "take a newer one, or leave --hardware out.")
    return level


def _set_capabilities(library: Any, config: Any, capabilities: Sequence[str]) -> None:
    if not capabilities:
        return
    config.num_compute_capabilities = len(capabilities)
    for index, capability in enumerate(capabilities):
        name = f"SM{capability.replace('.', '')}"
        value = getattr(library.ComputeCapability, name, None)
        if value is None or not config.set_compute_capability(value, index):
            message = f"This version builds for no GPU of compute capability {capability}."
            raise RequestError(message, "leave it out of --gpu, or upgrade tensorrt-rtx.")


def _set_timing_cache(config: Any, path: Path | None) -> None:
    if path is None:
        return
    cache = config.create_timing_cache(path.read_bytes() if path.is_file() else b"")
    if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
        message = f"{path} is no timing cache of this GPU and this version of TensorRT."
        raise RequestError(message, "name another file, or one that is not there yet.")
