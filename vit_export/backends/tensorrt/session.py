"""Engines of TensorRT and of TensorRT for RTX on a GPU; they need neither torch nor weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vit_export.artifact.batch import Batch
from vit_export.artifact.manifest import Manifest
from vit_export.backends.session import TAKES, RunFailedError, join_outputs
from vit_export.backends.tensorrt.cuda import Device, DriverError, find_gpu
from vit_export.backends.tensorrt.engine_info import EngineInfo
from vit_export.backends.tensorrt.inspector import inspect_matmuls
from vit_export.backends.tensorrt.logger import hold_garbage, last_error, make_logger
from vit_export.backends.tensorrt.sidecar import graph_path, hash_file
from vit_export.core.errors import BuildError, MissingError, RequestError
from vit_export.core.numerics import Array

MORE_MEMORY = "free GPU memory, or build with smaller batches."


class EngineSession:
    """An engine with an execution context for each of its optimization profiles.

    Args:
        path: the engine, which `compatibility.check_loads` accepts.
        library: the module that it was built by.
        manifest: the manifest beside it.

    Raises:
        RequestError: TensorRT does not open the file, or the weights of a stripped engine are
            missing.
        MissingError: the GPU cannot be used.
        BuildError: the GPU has no memory left for it.
    """

    @hold_garbage()
    def __init__(self, path: Path, library: Any, manifest: Manifest) -> None:
        info = EngineInfo.from_mapping(manifest.engine, str(path))
        self._manifest = manifest
        self._library, self._device, self._logger = library, _open_device(), make_logger(library)
        self._runtime = library.Runtime(self._logger)
        if info.version_compatible:
            self._runtime.engine_host_code_allowed = True  # it carries its lean runtime with it
        self._engine = self._runtime.deserialize_cuda_engine(path.read_bytes())
        if self._engine is None:
            message = f"{path} can't be opened by {info.kind} {info.version}: "
            raise RequestError(f"{message}{last_error(self._logger)}.", "build it again here.")
        if info.strip_weights:
            self._refit(path, info.graph_sha256)
        gpu = find_gpu()
        where = gpu.name if gpu is not None else "GPU"
        self.runtime = f"TensorRT {library.__version__} ({info.kind}, {where})"
        self._contexts = [self._make_context(i) for i in range(len(manifest.batch.profiles))]
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        inputs = library.TensorIOMode.INPUT
        (self._input,) = [n for n in names if self._engine.get_tensor_mode(n) == inputs]
        self._outputs = [n for n in names if n != self._input]
        self.takes_fp16 = self._dtype(self._input) == np.float16

    def _make_context(self, profile: int) -> Any:
        context = self._engine.create_execution_context()
        if context is None:
            message = f"The engine has no context for profile {profile}: {last_error(self._logger)}"
            raise BuildError(f"{message}.", MORE_MEMORY)
        try:
            if profile:
                context.set_optimization_profile_async(profile, self._device.stream)
                self._device.wait()
        except DriverError as error:
            message = f"The engine does not take its profile {profile}: {error}"
            raise BuildError(f"{message}.", MORE_MEMORY) from None
        return context

    def _refit(self, path: Path, graph_sha256: str | None) -> None:
        """Load the weights of the graph beside the engine into it."""
        graph = graph_path(path)
        if not graph.is_file():
            message = f"{path} has no weights of its own, and {graph.name} is not beside it."
            raise RequestError(message, "copy the graph too (--save-onnx).")
        if hash_file(graph) != graph_sha256:
            message = f"{graph} is not the graph that {path.name} was built from (SHA-256)."
            raise RequestError(message, "copy the graph that was built with it.")
        refitter = self._library.Refitter(self._engine, self._logger)
        parser = self._library.OnnxParserRefitter(refitter, self._logger)
        if not parser.refit_from_file(str(graph)) or not refitter.refit_cuda_engine():
            message = f"{path} does not take the weights of {graph.name}: "
            raise RequestError(f"{message}{last_error(self._logger)}.", "build both again.")

    def run(self, images: npt.NDArray[Any]) -> Array:
        """Return the answers (B, …) to `images` (B, C, H, W)."""
        with _faults_as_run_failures():
            answers = self._enqueue(images)
            self._device.wait()
        return join_outputs(answers, len(images))

    def time_ms(self, images: npt.NDArray[Any]) -> float:
        """Return the milliseconds of one run by the GPU's clock, copies to it and back included."""
        with _faults_as_run_failures():
            first = self._device.record_event()
            answers = self._enqueue(images)  # has to live until it is filled in
            milliseconds = self._device.elapsed_ms(first, self._device.record_event())
            del answers
        return milliseconds

    def matmuls_by_dtype(self) -> Mapping[str, int]:
        """Return the number of matmuls by arithmetic, from the engine's inspector."""
        return inspect_matmuls(self._library, self._engine)

    def manifest_json(self) -> str | None:
        """Return the manifest beside the engine."""
        return self._manifest.to_json()

    def _enqueue(self, images: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """Return the outputs, which are filled in when the stream has done everything."""
        context = self._contexts[find_profile(self._manifest.batch, len(images))]
        inputs = np.ascontiguousarray(images, self._dtype(self._input))
        if not context.set_input_shape(self._input, inputs.shape):
            raise RunFailedError(f"it takes no {inputs.shape}", TAKES)
        answers = [self._make_output(context, name) for name in self._outputs]
        names = (self._input, *self._outputs)
        for name, array in zip(names, (inputs, *answers), strict=True):
            context.set_tensor_address(name, self._device.allocate(name, array.nbytes))
        self._device.write(self._device.allocate(self._input, inputs.nbytes), inputs)
        if not context.execute_async_v3(self._device.stream):
            raise RunFailedError(last_error(self._logger), TAKES)
        for name, array in zip(self._outputs, answers, strict=True):
            self._device.read(self._device.allocate(name, array.nbytes), array)
        return answers

    def _make_output(self, context: Any, name: str) -> npt.NDArray[Any]:
        """Return an array for an output of the shape that the input gives it."""
        shape = tuple(int(n) for n in context.get_tensor_shape(name))
        return np.empty(shape, self._dtype(name))

    def _dtype(self, name: str) -> Any:
        return self._library.nptype(self._engine.get_tensor_dtype(name))


@contextmanager
def _faults_as_run_failures() -> Iterator[None]:
    """Raise RunFailedError for a fault on the GPU, which any call that waits for it may report."""
    try:
        yield
    except DriverError as error:
        fix = "free GPU memory or take a smaller batch; if it comes again, build the engine again."
        raise RunFailedError(str(error), fix) from None


def _open_device() -> Device:
    """Return the first GPU.

    Raises:
        MissingError: it does not answer.
    """
    try:
        return Device()
    except DriverError as error:
        fix = "see nvidia-smi: other programs may hold the GPU, or its driver may need a restart."
        raise MissingError(f"The GPU can't be used: {error}.", fix) from None


def find_profile(batch: Batch, size: int) -> int:
    """Return the number of the profile that takes a batch of `size`.

    If several do, it is the one whose optimal size is nearest.

    Raises:
        RunFailedError: none does.
    """
    fits = [i for i, one in enumerate(batch.profiles) if one.takes(size)]
    if not fits:
        raise RunFailedError(f"no profile takes batch {size}: it has {batch}", TAKES)
    return min(fits, key=lambda i: abs(batch.profiles[i].opt - size))
