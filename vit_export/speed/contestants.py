"""Who takes part in a bench, and how each is opened in a process of its own."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vit_export.runtimes import open_artifact
from vit_export.spec import VitSpec
from vit_export.versions import versions_of

if TYPE_CHECKING:  # torch is heavy, and an artifact is served without it
    from vit_export.vit.eager import Vit

Array = npt.NDArray[np.float32]
Run = Callable[[Array], Array]


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """One way of answering images."""

    name: str
    kind: str
    """A key of `OPENERS`."""
    path: str = ""
    """The file that is opened, where there is one."""
    spec: Mapping[str, Any] | None = None
    """The model, where it is made on the spot."""
    weights: str = ""
    """Its weights, a safetensors file of our names; random ones where it is empty."""
    threads: int | None = None
    """None: as many as the runtime takes by itself, which is what its users run."""

    def to_mapping(self) -> dict[str, Any]:
        """Plain values, for the process that opens it."""
        return asdict(self)


def opened(contestant: Contestant) -> tuple[Run, str]:
    """What runs a batch of images (B, C, H, W), and the version of what does it."""
    return OPENERS[contestant.kind](contestant)


def made_vit(spec: VitSpec, weights: str) -> "Vit":
    """The eager model with these weights, or with random ones."""
    from safetensors.torch import load_file

    from vit_export.vit.weights import fill, random_vit

    return fill(spec, load_file(weights), weights) if weights else random_vit(spec, 0)


def _artifact(contestant: Contestant) -> tuple[Run, str]:
    session = open_artifact(Path(contestant.path), contestant.threads)
    return session.run, session.runtime


def _eager(contestant: Contestant) -> tuple[Run, str]:
    import torch

    return _in_torch(_vit(contestant)), f"torch {torch.__version__}"


def _compiled(contestant: Contestant) -> tuple[Run, str]:
    import torch

    return _in_torch(torch.compile(_vit(contestant))), f"torch.compile {torch.__version__}"


def _vit(contestant: Contestant) -> "Vit":
    import torch

    if contestant.threads:
        torch.set_num_threads(contestant.threads)
    spec = VitSpec.from_mapping(contestant.spec or {}, contestant.name)
    return made_vit(spec, contestant.weights)


def _torch_products(contestant: Contestant) -> tuple[Run, str]:
    """The products of an ONNX file of `limit.write_products`, in PyTorch."""
    import onnx
    import torch
    from torch.nn.functional import linear

    if contestant.threads:
        torch.set_num_threads(contestant.threads)
    tensors = onnx.load(contestant.path).graph.initializer
    weights = [torch.from_numpy(onnx.numpy_helper.to_array(one).copy()) for one in tensors]
    run = _in_torch(lambda x: [linear(x, weight) for weight in weights][-1])
    return run, f"torch {torch.__version__}"


def _in_torch(module: Callable[[Any], Any]) -> Run:
    import torch

    def run(images: Array) -> Array:
        with torch.inference_mode():
            answers: Array = module(torch.from_numpy(images)).numpy()
        return answers

    return run


def _openvino(contestant: Contestant) -> tuple[Run, str]:
    import openvino

    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    if contestant.threads:
        settings["INFERENCE_NUM_THREADS"] = contestant.threads
    core = openvino.Core()
    request = core.compile_model(contestant.path, "CPU", settings).create_infer_request()
    return lambda images: request.infer([images])[0], f"OpenVINO {openvino.__version__}"


def _plain_session(contestant: Contestant) -> tuple[Run, str]:
    """Any ONNX file in ONNX Runtime as it comes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = contestant.threads or 0
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(contestant.path, options)
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0], (
        f"ONNX Runtime {versions_of(['onnxruntime'])['onnxruntime']}"
    )


OPENERS: dict[str, Callable[[Contestant], tuple[Run, str]]] = {
    "artifact": _artifact,
    "eager": _eager,
    "compile": _compiled,
    "torch-products": _torch_products,
    "onnxruntime": _plain_session,
    "openvino": _openvino,
}
