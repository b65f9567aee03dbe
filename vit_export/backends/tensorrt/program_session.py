"""Programs of torch-tensorrt, open in PyTorch on a GPU."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vit_export.artifact.manifest import Manifest
from vit_export.backends.session import TAKES, RunFailedError, join_outputs
from vit_export.core.errors import RequestError
from vit_export.core.numerics import Array


class ProgramSession:
    """A program that torch.export saved, open on the GPU it was built for.

    Args:
        path: the program.
        library: torch_tensorrt; its import registers the operator of the engines inside.
        manifest: the manifest beside it.

    Raises:
        RequestError: torch does not open the file.
    """

    takes_fp16 = False

    def __init__(self, path: Path, library: Any, manifest: Manifest) -> None:
        import torch

        self._manifest = manifest
        try:
            self._module: Any = torch.export.load(str(path)).module()
        except Exception as error:  # noqa: BLE001 its exceptions share no base class
            reason = str(error).partition("\n")[0]
            message = f"{path} can't be opened by torch-tensorrt {library.__version__}: {reason}"
            raise RequestError(message, "copy it again, or build it again here.") from None
        name = torch.cuda.get_device_name(0)
        self.runtime = f"torch-tensorrt {library.__version__} ({name})"

    def run(self, images: npt.NDArray[Any]) -> Array:
        """Return the answers (B, …) to `images` (B, C, H, W)."""
        import torch

        try:
            with torch.inference_mode():
                inputs = torch.from_numpy(np.ascontiguousarray(images)).to("cuda", torch.float32)
                answers = self._module(inputs)
                outputs = answers if isinstance(answers, tuple) else (answers,)
                arrays = [one.float().cpu().numpy() for one in outputs]
        except RuntimeError as error:
            reason = str(error).strip().rpartition("\n")[2]
            raise RunFailedError(reason, TAKES) from None
        return join_outputs(arrays, len(images))

    def time_ms(self, images: npt.NDArray[Any]) -> float:
        """Return the milliseconds of one run by the GPU's clock, copies to it and back included."""
        import torch

        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        first.record()
        self.run(images)
        last.record()
        last.synchronize()
        return float(first.elapsed_time(last))

    def matmuls_by_dtype(self) -> Mapping[str, int]:
        """Return an empty mapping: the engines inside report the names of layers only."""
        return {}

    def manifest_json(self) -> str | None:
        """Return the manifest beside the program."""
        return self._manifest.to_json()
