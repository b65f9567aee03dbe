"""Builds the bytes of an engine from an ONNX graph, with TensorRT's parser and builder.

`tensorrt` and `tensorrt_rtx` have the same interface, so the module is passed in.
"""

import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from vit_export.backends.tensorrt.builder_config import BuilderOptions, configure
from vit_export.backends.tensorrt.engine_info import EngineTensor
from vit_export.backends.tensorrt.logger import hold_garbage, last_error, make_logger
from vit_export.backends.tensorrt.network import (
    check_arithmetic,
    count_matmuls,
    describe_tensors,
    parse,
)
from vit_export.backends.tensorrt.progress_monitor import make_monitor
from vit_export.core.errors import BuildError
from vit_export.core.progress import ReportShare

Result = TypeVar("Result")
Sizes = tuple[int, int, int]
"""The batch sizes of an optimization profile: min, opt and max."""
OUT_OF_MEMORY = ("outofmemory", "out of memory", "insufficient memory", "workspace limit")
"""Parts of TensorRT's messages about it, in lower case."""
LOWER = "give --workspace more MB or leave it out, lower --level, or the largest size of --batch."


@dataclass(frozen=True, kw_only=True)
class Network:
    """A parsed network, ready to be built."""

    builder: Any
    """TensorRT's IBuilder."""
    definition: Any
    """TensorRT's INetworkDefinition."""
    logger: Any
    layers: int
    """Number of layers."""
    matmuls: dict[str, int]
    """Number of matmuls and convolutions by arithmetic."""
    tensors: tuple[EngineTensor, ...]
    """Inputs and outputs."""


@dataclass(frozen=True, kw_only=True)
class BuiltEngine:
    """What the builder returns."""

    content: Any
    """The bytes of the engine, as a buffer."""
    timings: bytes
    """The content of the timing cache after the build; empty without one."""


def parse_graph(library: Any, graph: Path, *, precision: str, flavour: str) -> Network:
    """Return the network of an ONNX file, strongly typed: the graph decides what is fp16.

    Ctrl-C is raised when the parser is done: raised in its logger, it would be lost.

    Raises:
        BuildError: the parser refuses a node.
        ProofError: the network is not of `precision`.
    """
    return _run_interruptibly(
        lambda: _parse_graph(library, graph, precision, flavour), threading.Event()
    )


def _parse_graph(library: Any, graph: Path, precision: str, flavour: str) -> Network:
    logger = make_logger(library)
    builder = library.Builder(logger)
    definition = builder.create_network(_strongly_typed(library))
    parse(library, definition, graph, logger, flavour)
    matmuls = count_matmuls(definition)
    check_arithmetic(matmuls, precision)
    return Network(
        builder=builder,
        definition=definition,
        logger=logger,
        layers=int(definition.num_layers),
        matmuls=matmuls,
        tensors=describe_tensors(definition),
    )


def _strongly_typed(library: Any) -> int:
    """Return the flag, or 0 for a version that has strongly typed networks only."""
    flags = library.NetworkDefinitionCreationFlag
    flag = getattr(flags, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def serialize(
    library: Any,
    network: Network,
    profiles: Sequence[Sizes],
    options: BuilderOptions,
    report_share: ReportShare,
) -> BuiltEngine:
    """Return the engine of a network. Ctrl-C ends the build, and is raised after that.

    Args:
        library: the module, tensorrt or tensorrt_rtx.
        network: what to build.
        profiles: the batch sizes of each optimization profile.
        options: how to build it.
        report_share: called with the share of the build that is done.

    Raises:
        RequestError: this version of the library lacks an option.
        BuildError: the builder gives up, with its own last error.
    """
    stop = threading.Event()
    config = network.builder.create_builder_config()
    config.progress_monitor = make_monitor(library, report_share, stop)
    configure(library, config, options)
    _add_profiles(network, config, profiles)
    content = _run_interruptibly(
        lambda: network.builder.build_serialized_network(network.definition, config), stop
    )
    if content is None:
        raise _build_error(last_error(network.logger), network.logger.errors)
    timings = b""
    if options.timing_cache is not None:
        timings = bytes(config.get_timing_cache().serialize())
    return BuiltEngine(content=content, timings=timings)


def save_timings(path: Path, timings: bytes) -> str:
    """Write the timing cache for the next build; return why that failed, or an empty text."""
    try:
        path.write_bytes(timings)
    except OSError as error:
        return f"the timing cache {path} is not written: {error.strerror or error}"
    return ""


def _add_profiles(network: Network, config: Any, profiles: Sequence[Sizes]) -> None:
    """Add one optimization profile for each range of batches; none where shapes are fixed."""
    image = network.definition.get_input(0)
    rest = tuple(int(length) for length in image.shape)[1:]
    if int(image.shape[0]) >= 0:
        return
    for sizes in profiles:
        profile = network.builder.create_optimization_profile()
        profile.set_shape(image.name, *((size, *rest) for size in sizes))
        if config.add_optimization_profile(profile) < 0:
            message = f"TensorRT refuses the profile {sizes}: {last_error(network.logger)}."
            raise BuildError(message, "give another --batch.")


def _run_interruptibly(work: Callable[[], Result], stop: threading.Event) -> Result:
    """Return what `work` returns; Ctrl-C sets `stop` and is raised when `work` has ended.

    It runs in a thread, because Python notices Ctrl-C in the main one only.
    """
    results: list[Result] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            with hold_garbage():
                results.append(work())
        except Exception as error:  # noqa: BLE001 raised again in the thread that waits
            traceback.clear_frames(error.__traceback__)  # they hold builders
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
    return results[0]


def _build_error(reason: str, errors: Sequence[str]) -> BuildError:
    text = " ".join(errors).lower()
    if any(words in text for words in OUT_OF_MEMORY):
        return BuildError(f"TensorRT ran out of memory: {reason}.", LOWER)
    return BuildError(
        f"TensorRT built no engine: {reason}.", "see the options of --help, or report this."
    )
