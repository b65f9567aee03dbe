"""Programs of torch-tensorrt: an ExportedProgram with the engine inside, on a GPU."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vit_export.backends.session import RunFailedError
from vit_export.backends.tensorrt.compatibility import check_loads
from vit_export.backends.tensorrt.sidecar import read_sidecar
from vit_export.core.errors import RequestError
from vit_export.core.numerics import Array


class ExportedSession:
    """A program that torch.export saved, open on the GPU it was built for."""

    takes_fp16 = False

    def __init__(self, path: Path, threads: int | None = None) -> None:  # noqa: ARG002 as all runtimes
        import torch

        manifest = read_sidecar(path)
        library = check_loads(path, manifest.engine)  # its import brings the engine's operator
        self._json = manifest.to_json()
        self._dtype = torch.float32
        try:
            self._module: Any = torch.export.load(str(path)).module()
        except Exception as error:  # noqa: BLE001 its exceptions share no base class
            reason = str(error).partition("\n")[0]
            message = f"{path} can't be opened by torch-tensorrt {library.__version__}: {reason}"
            raise RequestError(message, "copy it again, or build it again here.") from None
        name = torch.cuda.get_device_name(0)
        self.runtime = f"torch-tensorrt {library.__version__} ({name})"

    def run(self, images: Array) -> Array:
        """Answers (B, …) to images (B, C, H, W)."""
        import torch

        try:
            with torch.inference_mode():
                given = torch.from_numpy(np.ascontiguousarray(images)).to("cuda", self._dtype)
                answer: Array = self._module(given).float().cpu().numpy()
        except RuntimeError as error:
            reason = str(error).strip().rpartition("\n")[2]
            raise RunFailedError(reason, "see what the artifact was built for.") from None
        return answer

    def time_ms(self, images: Array) -> float:
        """What the GPU takes for one answer by its own clock, copies to it and back included."""
        import torch

        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        first.record()
        self.run(images)
        last.record()
        last.synchronize()
        return float(first.elapsed_time(last))

    def matmuls_by_dtype(self) -> Mapping[str, int]:
        """Return nothing: the engines inside tell the names of their layers alone."""
        return {}

    def manifest_json(self) -> str | None:
        """The manifest beside the program."""
        return self._json
