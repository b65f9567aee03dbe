"""Engines of TensorRT and of TensorRT for RTX, on a GPU. Needs neither torch nor the weights."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from vit_export.artifact.batch import Batch
from vit_export.backends.session import RunFailedError
from vit_export.backends.tensorrt.compatibility import check_loads
from vit_export.backends.tensorrt.cuda import Device
from vit_export.backends.tensorrt.driver import DriverError, find_gpu
from vit_export.backends.tensorrt.inspector import inspected
from vit_export.backends.tensorrt.logger import last_error, log_of, uncollected
from vit_export.backends.tensorrt.sidecar import graph_of, read_sidecar
from vit_export.core.errors import BuildError, MissingError, RequestError
from vit_export.core.numerics import Array

SHORT = "free GPU memory, or build with smaller batches."


class EngineSession:
    """An engine with a context for each of its optimization profiles.

    Raises:
        RequestError: the file is damaged, or no engine that TensorRT opens.
        NotHereError: it is for another GPU or another version.
        MissingError: the GPU can't be used.
        BuildError: the GPU has no memory left for it.
    """

    @uncollected()
    def __init__(self, path: Path, threads: int | None = None) -> None:  # noqa: ARG002 as all runtimes
        manifest = read_sidecar(path)
        self._json = manifest.to_json()
        self._batch = manifest.batch
        library, told = check_loads(path, manifest.engine), manifest.engine
        self._library, self._device, self._log = library, _device(), log_of(library)
        self._runtime = library.Runtime(self._log)
        if told.get("version_compatible"):
            self._runtime.engine_host_code_allowed = True  # it carries its lean runtime with it
        self._engine = self._runtime.deserialize_cuda_engine(path.read_bytes())
        if self._engine is None:
            message = f"{path} can't be opened by {told['kind']} {told['version']}: "
            raise RequestError(f"{message}{last_error(self._log)}.", "build it again here.")
        if told.get("strip_weights"):
            self._refit(path, str(told["graph_sha256"]))
        gpu = find_gpu()
        where = gpu.name if gpu is not None else "GPU"
        self.runtime = f"TensorRT {library.__version__} ({told['kind']}, {where})"
        self._contexts = [self._context(i) for i in range(len(self._batch.profiles))]
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        inputs = library.TensorIOMode.INPUT
        (self._input,) = [n for n in names if self._engine.get_tensor_mode(n) == inputs]
        self.takes_fp16 = self._dtype(self._input) == np.float16
        (self._output,) = [n for n in names if n != self._input]

    def matmuls_by_dtype(self) -> Mapping[str, int]:
        """Return how many matrix products are computed in which arithmetic, by its inspector."""
        return inspected(self._library, self._engine)

    def _context(self, profile: int) -> Any:
        context = self._engine.create_execution_context()
        if context is None:
            message = f"The engine has no context for profile {profile}: {last_error(self._log)}"
            raise BuildError(f"{message}.", SHORT)
        try:
            if profile:
                context.set_optimization_profile_async(profile, self._device.stream)
                self._device.wait()
        except DriverError as error:
            message = f"The engine does not take its profile {profile}: {error}"
            raise BuildError(f"{message}.", SHORT) from None
        return context

    def _refit(self, path: Path, wanted: str) -> None:
        """Gives an engine without weights those of the graph beside it, whose SHA-256 is known."""
        graph = graph_of(path)
        if not graph.is_file():
            message = f"{path} has no weights of its own, and {graph.name} is not beside it."
            raise RequestError(message, "copy the graph too (--save-onnx).")
        with graph.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != wanted:
                message = f"{graph} is not the graph that {path.name} was built of (SHA-256)."
                raise RequestError(message, "copy the graph that was built with it.")
        refitter = self._library.Refitter(self._engine, self._log)
        parser = self._library.OnnxParserRefitter(refitter, self._log)
        if not parser.refit_from_file(str(graph)) or not refitter.refit_cuda_engine():
            message = f"{path} does not take the weights of {graph.name}: "
            raise RequestError(f"{message}{last_error(self._log)}.", "build both again.")

    def run(self, images: Array) -> Array:
        """Answers (B, …) to images (B, C, H, W)."""
        with _faults():
            answer = self._enqueued(images)
            self._device.wait()
        return np.asarray(answer, np.float32)

    def time_ms(self, images: Array) -> float:
        """What the GPU takes for one answer by its own clock, copies to it and back included."""
        with _faults():
            first = self._device.mark()
            answer = self._enqueued(images)  # has to live until it is filled in
            found_ms = self._device.between_ms(first, self._device.mark())
            del answer
        return found_ms

    def _enqueued(self, images: Array) -> Any:
        """The answer that the stream will have filled in."""
        context = self._contexts[profile_for(self._batch, len(images))]
        numbers = np.ascontiguousarray(images, self._dtype(self._input))
        if not context.set_input_shape(self._input, numbers.shape):
            raise RunFailedError(f"it takes no {numbers.shape}", "see its profiles: inspect.")
        shape = tuple(int(n) for n in context.get_tensor_shape(self._output))
        answer = np.empty(shape, self._dtype(self._output))
        for name, array in ((self._input, numbers), (self._output, answer)):
            context.set_tensor_address(name, self._device.room(name, array.nbytes))
        self._device.write(self._device.room(self._input, numbers.nbytes), numbers)
        if not context.execute_async_v3(self._device.stream):
            raise RunFailedError(last_error(self._log), "see what it was built for: inspect.")
        self._device.read(self._device.room(self._output, answer.nbytes), answer)
        return answer

    def _dtype(self, name: str) -> Any:
        return self._library.nptype(self._engine.get_tensor_dtype(name))

    def manifest_json(self) -> str | None:
        """The manifest beside the engine."""
        return self._json


@contextmanager
def _faults() -> Iterator[None]:
    """A fault on the GPU shows wherever one waits for it, not only where work is given to it."""
    try:
        yield
    except DriverError as error:
        fix = "free GPU memory or take a smaller batch; if it comes again, build the engine again."
        raise RunFailedError(str(error), fix) from None


def _device() -> Device:
    """The first GPU.

    Raises:
        MissingError: it does not answer.
    """
    try:
        return Device()
    except DriverError as error:
        fix = "see nvidia-smi: other programs may hold the GPU, or its driver may need a restart."
        raise MissingError(f"The GPU can't be used: {error}.", fix) from None


def profile_for(batch: Batch, size: int) -> int:
    """The profile that takes a batch of `size`: the one whose usual size is nearest.

    Raises:
        RunFailedError: none does.
    """
    fits = [i for i, one in enumerate(batch.profiles) if one.takes(size)]
    if not fits:
        raise RunFailedError(f"no profile takes batch {size}, it has {batch}", "give such a batch.")
    return min(fits, key=lambda i: abs(batch.profiles[i].usual - size))
