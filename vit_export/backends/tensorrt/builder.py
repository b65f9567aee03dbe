"""An engine of an ONNX graph, through TensorRT's parser and builder: one code path for both.

`tensorrt` and `tensorrt_rtx` have the same interface, so the module is passed in.
"""

import threading
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vit_export.backends.tensorrt.builder_config import Settings
from vit_export.backends.tensorrt.logger import last_error, log_of, uncollected
from vit_export.backends.tensorrt.network import census, check_census, ends_of, parse
from vit_export.backends.tensorrt.progress_monitor import monitor_of
from vit_export.core.errors import BuildError, RequestError
from vit_export.core.progress import Tell

MB = 2**20
SHORT_OF_MEMORY = ("outofmemory", "out of memory", "insufficient memory", "workspace limit")
LOWER = "give --workspace more MB or leave it out, lower --level, or the largest size of --batch."

Sizes = tuple[int, int, int]
"""Least, usual and most of a batch."""


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """A network, and what it says of itself before it is built."""

    builder: Any
    network: Any
    log: Any
    layers: int
    products: dict[str, int]
    """By arithmetic."""
    ends: list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Serialized:
    """What the builder made."""

    engine: Any
    """Its bytes, as a buffer."""
    timings: bytes
    """What the timing cache holds now; empty without one."""


def parsed(library: Any, graph: Path, *, precision: str, flavour: str) -> Parsed:
    """The network of the graph, strongly typed: what is fp16 and what is not, the graph decides.

    Ctrl-C is raised when the parser is done: raised in its log, it would be lost.

    Raises:
        BuildError: the parser refuses a node.
        ProofError: the network is not of `precision`.
    """
    found: Parsed = _stoppable(
        lambda: _parsed(library, graph, precision, flavour), threading.Event()
    )
    return found


def _parsed(library: Any, graph: Path, precision: str, flavour: str) -> Parsed:
    log = log_of(library)
    builder = library.Builder(log)
    network = builder.create_network(_strongly_typed(library))
    parse(library, network, graph, log, flavour)
    products = census(network)
    check_census(products, precision, "the network that TensorRT reads")
    return Parsed(
        builder=builder,
        network=network,
        log=log,
        layers=int(network.num_layers),
        products=products,
        ends=ends_of(network),
    )


def _strongly_typed(library: Any) -> int:
    """The flag; where a version has it no more, every network is strongly typed."""
    flags = library.NetworkDefinitionCreationFlag
    flag = getattr(flags, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def serialized(
    library: Any, found: Parsed, profiles: Sequence[Sizes], settings: Settings, tell: Tell
) -> Serialized:
    """The engine. Ctrl-C ends the build, and is raised after that.

    Raises:
        BuildError: the builder gives up, with its own last error.
    """
    stop = threading.Event()
    config = found.builder.create_builder_config()
    config.progress_monitor = monitor_of(library, tell, stop)
    cache = configure(library, config, settings)
    _add_profiles(found, config, profiles)
    made = _stoppable(lambda: found.builder.build_serialized_network(found.network, config), stop)
    if made is None:
        raise _failure(last_error(found.log), found.log.errors)
    timings = b"" if cache is None else bytes(config.get_timing_cache().serialize())
    return Serialized(engine=made, timings=timings)


def keep_timings(path: Path, timings: bytes) -> str:
    """Writes what was timed, for the next build; what went wrong, which is no harm to this one."""
    try:
        path.write_bytes(timings)
    except OSError as error:
        return f"the timing cache {path} is not written: {error.strerror or error}"
    return ""


def configure(library: Any, config: Any, settings: Settings) -> Any:
    """Tells the builder's config what was asked for; the timing cache, where there is one."""
    flags = library.BuilderFlag
    config.clear_flag(flags.TF32)  # it rounds fp32 to ten bits: then the file would not be fp32
    config.profiling_verbosity = library.ProfilingVerbosity.DETAILED  # for the census
    if settings.workspace_mb:
        pool = library.MemoryPoolType.WORKSPACE
        config.set_memory_pool_limit(pool, settings.workspace_mb * MB)
    if settings.level != Settings.level:
        config.builder_optimization_level = settings.level
    if settings.refit:
        config.set_flag(flags.REFIT)
    if settings.strip_weights:
        config.set_flag(flags.STRIP_PLAN)
        if not settings.refit:  # REFIT may drop biases (release notes of 11.3)
            config.set_flag(flags.REFIT_IDENTICAL)
    if settings.version_compatible:
        config.set_flag(flags.VERSION_COMPATIBLE)
    if settings.hardware != Settings.hardware:
        level = _hardware(library, settings.hardware)
        config.hardware_compatibility_level = level
    _set_capabilities(library, config, settings.capabilities)
    return _timing_cache(config, settings.timing_cache)


def _hardware(library: Any, name: str) -> Any:
    levels = library.HardwareCompatibilityLevel
    wanted = {"ampere-plus": "AMPERE_PLUS", "same-capability": "SAME_COMPUTE_CAPABILITY"}[name]
    found = getattr(levels, wanted, None)
    if found is None:
        message = f"TensorRT {library.__version__} has no hardware compatibility {name}."
        raise RequestError(message, "take a newer one, or leave --hardware out.")
    return found


def _set_capabilities(library: Any, config: Any, capabilities: Sequence[str]) -> None:
    if not capabilities:
        return
    config.num_compute_capabilities = len(capabilities)
    for index, capability in enumerate(capabilities):
        name = f"SM{capability.replace('.', '')}"
        found = getattr(library.ComputeCapability, name, None)
        if found is None or not config.set_compute_capability(found, index):
            message = f"This version builds for no GPU of compute capability {capability}."
            raise RequestError(message, "leave it out of --gpu, or upgrade tensorrt-rtx.")


def _timing_cache(config: Any, path: Path | None) -> Any:
    if path is None:
        return None
    cache = config.create_timing_cache(path.read_bytes() if path.is_file() else b"")
    if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
        message = f"{path} is no timing cache of this GPU and this version of TensorRT."
        raise RequestError(message, "name another file, or one that is not there yet.")
    return cache


def _add_profiles(found: Parsed, config: Any, profiles: Sequence[Sizes]) -> None:
    """One optimization profile for each range of batches; none for a network of fixed shapes."""
    image = found.network.get_input(0)
    rest = tuple(int(length) for length in image.shape)[1:]
    if int(image.shape[0]) >= 0:
        return
    for sizes in profiles:
        profile = found.builder.create_optimization_profile()
        profile.set_shape(image.name, *((size, *rest) for size in sizes))
        if config.add_optimization_profile(profile) < 0:
            message = f"TensorRT refuses the profile {sizes}: {last_error(found.log)}."
            raise BuildError(message, "give another --batch.")


def _stoppable(work: Any, stop: threading.Event) -> Any:
    """What `work` answers. It runs in a thread, for Python sees Ctrl-C in the main one only."""
    answers: list[Any] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            with uncollected():
                answers.append(work())
        except Exception as error:  # noqa: BLE001 handed to the thread that waits
            traceback.clear_frames(error.__traceback__)  # which hold builders
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        thread.join()
    except BaseException:
        stop.set()
        thread.join()
        raise
    if failures:
        raise failures.pop()
    return answers[0]


def _failure(reason: str, errors: Sequence[str]) -> BuildError:
    told = " ".join(errors).lower()
    if any(words in told for words in SHORT_OF_MEMORY):
        return BuildError(f"TensorRT ran out of memory: {reason}.", LOWER)
    return BuildError(
        f"TensorRT built no engine: {reason}.", "see the options of --help, or report this."
    )
