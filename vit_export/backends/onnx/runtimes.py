"""The runtimes that an ONNX file is for, by its flavour (`--for`)."""

from collections.abc import Sequence
from pathlib import Path

from vit_export.artifact.manifest import Manifest
from vit_export.backends.onnx.openvino_session import OpenVinoSession
from vit_export.backends.records import Runtime
from vit_export.backends.session import Session
from vit_export.core.errors import MissingError


def list_other_runtimes(manifest: Manifest) -> Sequence[Runtime]:
    """Return the runtimes besides ONNX Runtime, in which every ONNX file is proven."""
    runtime = _RUNTIMES.get(manifest.settings.flavour or "")
    return () if runtime is None else (runtime,)


def _open_in_tensorrt(path: Path, threads: int | None) -> Session:  # noqa: ARG001 as `Runtime.open`
    """Raise MissingError: TensorRT runs engines, which `vit-export trt` builds and proves."""
    message = f"{path} is no engine, and TensorRT runs engines."
    raise MissingError(message, "vit-export trt builds an engine and proves it")


_RUNTIMES = {
    "openvino": Runtime(name="OpenVINO", open=OpenVinoSession),
    "tensorrt": Runtime(name="TensorRT", open=_open_in_tensorrt),
}
