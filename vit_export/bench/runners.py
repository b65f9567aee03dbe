"""How each kind of candidate is opened, in its own process."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vit_export.backends.module_session import ModuleSession
from vit_export.backends.onnx.session import open_inference_session
from vit_export.backends.open import open_artifact
from vit_export.backends.session import Session, wall_clock_ms
from vit_export.bench.candidates import Candidate
from vit_export.bench.eager import EagerRecipe
from vit_export.bench.gemm import ZERO_POINT, read_gemms
from vit_export.core.numerics import Array
from vit_export.core.packages import find_versions

if TYPE_CHECKING:  # torch is heavy, and an artifact is served without it
    from torch import nn


@dataclass(frozen=True, eq=False)
class Runner:
    """An open candidate."""

    run: Callable[[Array], Array]
    """Answers a batch of images (B, C, H, W)."""
    version: str
    """Name and version of the runtime."""
    clock: Callable[[Array], float] | None = None
    """Runs a batch and returns its milliseconds; None for this machine's clock."""

    def time_ms(self, images: Array) -> float:
        """Run a batch and return the milliseconds it took."""
        if self.clock is not None:
            return self.clock(images)
        return wall_clock_ms(self.run, images)


def open_candidate(candidate: Candidate) -> Runner:
    """Open `candidate` in this process.

    Raises:
        VitExportError: its file can't be opened; runtimes raise exceptions of their own besides.
    """
    return RUNNERS[candidate.kind](candidate)


def wrap_session(session: Session) -> Runner:
    """Return the runner of an open artifact."""
    return Runner(session.run, session.runtime, session.time_ms)


def _open_file(candidate: Candidate) -> Runner:
    # the parent has opened the file before, and asked whether it is trusted
    return wrap_session(open_artifact(Path(candidate.path), candidate.threads, trust=True))


def _open_eager(candidate: Candidate) -> Runner:
    import torch

    return Runner(ModuleSession(_build_module(candidate)).run, f"torch {torch.__version__}")


def _open_compiled(candidate: Candidate) -> Runner:
    """Return a runner that compiles at its first call."""
    import torch

    compiled = torch.compile(_build_module(candidate))
    return Runner(ModuleSession(compiled).run, f"torch.compile {torch.__version__}")


def _open_torchao(candidate: Candidate) -> Runner:
    import torch

    from vit_export.bench.torchao import compile_int8

    session = compile_int8(_build_module(candidate), np.load(candidate.calibration))
    version = f"torchao {find_versions(['torchao'])['torchao']}, torch {torch.__version__}"
    return Runner(session.run, version)


def _open_onnxruntime(candidate: Candidate) -> Runner:
    """Return a runner of any ONNX file; it answers with the first output, as it comes."""
    session = open_inference_session(Path(candidate.path), candidate.threads)
    name = session.get_inputs()[0].name
    version = f"ONNX Runtime {find_versions(['onnxruntime'])['onnxruntime']}"
    return Runner(lambda images: session.run(None, {name: images})[0], version)


def _open_openvino(candidate: Candidate) -> Runner:
    """Return a runner of any ONNX file in OpenVINO, set for latency and fp32."""
    import openvino

    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    if candidate.threads:
        settings["INFERENCE_NUM_THREADS"] = candidate.threads
    core = openvino.Core()
    request = core.compile_model(candidate.path, "CPU", settings).create_infer_request()
    return Runner(lambda images: request.infer([images])[0], f"OpenVINO {openvino.__version__}")


def _open_torch_gemm(candidate: Candidate) -> Runner:
    """Return a runner of a file's fp32 matmuls in PyTorch."""
    import torch
    from torch.nn.functional import linear

    _set_threads(candidate)
    weights = [torch.from_numpy(weight) for weight in read_gemms(candidate.path)[1]]
    session = ModuleSession(lambda x: [linear(x, weight) for weight in weights][-1])
    return Runner(session.run, f"torch {torch.__version__}")


def _open_int8_gemm(candidate: Candidate) -> Runner:
    """Return a runner of a file's int8 matmuls; its input is fixed, whatever images come."""
    runner = _open_onnxruntime(candidate)
    x: Any = read_gemms(candidate.path)[0]
    return Runner(lambda _: runner.run(x), runner.version)


def _open_torch_int8_gemm(candidate: Candidate) -> Runner:
    """Return the same in PyTorch, by the operator of torch.compile for a quantized linear layer."""
    import torch

    _set_threads(candidate)
    integers, arrays = read_gemms(candidate.path)
    x, onednn = torch.from_numpy(integers), torch.ops.onednn
    columns = arrays[0].shape[1]
    weights = [onednn.qlinear_prepack(torch.from_numpy(w.T.copy()), list(x.shape)) for w in arrays]
    scales, zeros = torch.ones(columns), torch.zeros(columns, dtype=torch.int64)
    output: Any = (None, 1.0, 0, torch.float32, "none", [], "")  # no bias and no fused operator

    def multiply(_: torch.Tensor) -> torch.Tensor:
        ys: list[torch.Tensor] = [
            onednn.qlinear_pointwise(x, 1.0, ZERO_POINT, weight, scales, zeros, *output)
            for weight in weights
        ]
        return ys[-1]

    return Runner(ModuleSession(multiply).run, f"torch {torch.__version__}")


def _build_module(candidate: Candidate) -> "nn.Module":
    """Return the eager model, on the candidate's number of threads."""
    _set_threads(candidate)
    return (candidate.eager or EagerRecipe()).build()


def _set_threads(candidate: Candidate) -> None:
    import torch

    if candidate.threads:
        torch.set_num_threads(candidate.threads)


RUNNERS: dict[str, Callable[[Candidate], Runner]] = {
    "artifact": _open_file,
    "eager": _open_eager,
    "compile": _open_compiled,
    "torchao": _open_torchao,
    "onnxruntime": _open_onnxruntime,
    "openvino": _open_openvino,
    "torch-gemm": _open_torch_gemm,
    "int8-gemm": _open_int8_gemm,
    "torch-int8-gemm": _open_torch_int8_gemm,
}
"""How to open a candidate, by its kind."""
