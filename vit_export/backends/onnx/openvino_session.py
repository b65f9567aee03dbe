"""ONNX files in OpenVINO on the CPU, in its f32 mode."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vit_export.backends.session import (
    TAKES,
    RunFailedError,
    check_memory,
    join_outputs,
    wall_clock_ms,
)
from vit_export.core.cpu import identify_cpu
from vit_export.core.errors import MissingError, RequestError
from vit_export.core.numerics import Array
from vit_export.core.packages import find_versions


class OpenVinoSession:
    """An ONNX file, open in OpenVINO's CPU plugin.

    Args:
        path: the file; weights above 2 GB stand beside it.
        threads: inference threads; None for OpenVINO's default.

    Raises:
        RequestError: OpenVINO does not open the file.
        MissingError: OpenVINO is not installed.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        try:
            import openvino
        except ModuleNotFoundError:
            raise MissingError(f"{path} is for OpenVINO.", "pip install openvino") from None
        (version,) = find_versions(["openvino"]).values()
        self.runtime = f"OpenVINO {version} (CPU, {identify_cpu().name}, f32)"
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        try:
            self._model = openvino.Core().compile_model(str(path), "CPU", settings)
        except RuntimeError as error:
            check_memory(error)
            raise RequestError(
                f"{path} can't be opened by {self.runtime}: {_find_reason(error)}",
                "export the model again, --for another runtime.",
            ) from None
        (image,) = self._model.inputs
        self._dtype = image.element_type.to_dtype()
        self.takes_fp16 = bool(self._dtype == np.float16)

    def run(self, images: npt.NDArray[Any]) -> Array:
        """Return the answers (B, …) to `images` (B, C, H, W), or to pixels (B, H, W, C)."""
        try:
            answers = self._model([images.astype(self._dtype)])
        except RuntimeError as error:
            check_memory(error)
            raise RunFailedError(_find_reason(error), TAKES) from None
        # the next run writes its answers where these are
        return join_outputs([answers[output].copy() for output in self._model.outputs], len(images))

    def time_ms(self, images: npt.NDArray[Any]) -> float:
        """Return the milliseconds of one `run` by this machine's clock."""
        return wall_clock_ms(self.run, images)

    def matmuls_by_dtype(self) -> Mapping[str, int]:
        """Return an empty mapping: OpenVINO reports it for compiled layers alone."""
        return {}

    def manifest_json(self) -> str | None:
        """Return None: OpenVINO does not keep the metadata of an ONNX file."""
        return None


def _find_reason(error: RuntimeError) -> str:
    """Return the last line of a message: places in OpenVINO's sources stand before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
