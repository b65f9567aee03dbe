"""ONNX files in ONNX Runtime, on the CPU. Needs neither torch nor the package onnx."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vit_export.artifact.manifest import KEY
from vit_export.backends.session import RunFailedError, in_one
from vit_export.core.errors import MissingError, RequestError
from vit_export.core.numerics import Array

MAGIC = b"\x08"
"""How an ONNX file begins: field 1 of ModelProto, ir_version."""
DTYPES = {"tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
"""What an image is in, where that is not fp32."""
QUIET = 4  # fatal only; errors come back as exceptions anyway


class OnnxSession:
    """An ONNX file, open in ONNX Runtime's CPU provider."""

    def __init__(self, path: Path, threads: int | None = None) -> None:
        try:
            import onnxruntime
        except ImportError:
            message = f"{path} is an ONNX file and needs ONNX Runtime."
            raise MissingError(message, "pip install onnxruntime") from None
        options = onnxruntime.SessionOptions()
        options.log_severity_level = QUIET
        options.intra_op_num_threads = threads or 0
        self.runtime = f"ONNX Runtime {onnxruntime.__version__} (CPU)"
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # noqa: BLE001 its exceptions share no base class
            reason = str(error).partition("\n")[0]
            message = f"{path} can't be opened by {self.runtime}: {reason}"
            raise RequestError(
                message, "copy it again, its .data file too, or export anew."
            ) from None
        (image,) = self._session.get_inputs()
        self._input = image.name
        self.dtype: type = DTYPES.get(image.type, np.float32)

    def run(self, images: npt.NDArray[Any]) -> Array:
        """Answers (B, …) to images (B, C, H, W), or to levels (B, H, W, C)."""
        try:
            answers = self._session.run(None, {self._input: images.astype(self.dtype)})
        except Exception as error:  # noqa: BLE001 its exceptions share no base class
            reason = str(error).partition("\n")[0]
            raise RunFailedError(reason, "see what the artifact was built for.") from None
        return in_one(answers)

    def manifest_json(self) -> str | None:
        """The manifest in the model's metadata."""
        metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        return metadata.get(KEY)
