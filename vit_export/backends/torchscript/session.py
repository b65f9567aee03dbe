"""TorchScript files, run by the torch that is installed."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vit_export.backends.session import (
    FOREIGN,
    TAKES,
    RunFailedError,
    check_memory,
    join_outputs,
    wall_clock_ms,
)
from vit_export.backends.torchscript.archive import read_manifest_json
from vit_export.backends.torchscript.program import check_program
from vit_export.core.cpu import identify_cpu
from vit_export.core.errors import MissingError, RequestError
from vit_export.core.numerics import Array


def load_archive(path: Path) -> Any:
    """Return the module of an archive on the CPU, after its program was checked.

    PyTorch's warning that TorchScript is deprecated is left out: `doctor` says so.

    Raises:
        RequestError: the program has something that vit-export never writes.
    """
    import torch

    check_program(path)

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.load` is", DeprecationWarning)
        return torch.jit.load(str(path), "cpu")


class TorchScriptSession:
    """A TorchScript archive, open in LibTorch through Python.

    Args:
        path: the archive.
        threads: intra-op threads of PyTorch in this process; None leaves them as they are.

    Raises:
        RequestError: LibTorch does not open the archive, or its program has something that
            vit-export never writes.
        MissingError: torch is not installed.
    """

    takes_fp16 = False

    def __init__(self, path: Path, threads: int | None = None) -> None:
        try:
            import torch
        except ModuleNotFoundError:
            message = f"{path} is a TorchScript file and needs torch."
            raise MissingError(message, "pip install torch") from None
        if threads:
            torch.set_num_threads(threads)
        self.runtime = f"TorchScript in torch {torch.__version__} (CPU, {identify_cpu().name})"
        self._manifest_json = read_manifest_json(path)
        try:
            self._module = load_archive(path).eval()
        except RequestError:
            raise
        except Exception as error:  # noqa: BLE001 a damaged program makes LibTorch raise anything
            check_memory(error)
            reason = str(error).partition("\n")[0]
            message = f"{path} can't be opened by {self.runtime}: {reason}"
            raise RequestError(message, "copy it again, or export the model again.") from None

    def run(self, images: npt.NDArray[Any]) -> Array:
        """Return the answers (B, …) to `images` (B, C, H, W), or to pixels (B, H, W, C)."""
        import torch

        try:
            with torch.inference_mode():
                answer = self._module(torch.from_numpy(np.require(images, requirements="W")))
        except Exception as error:  # noqa: BLE001 as above
            check_memory(error)
            # its last line is the cause; the others show TorchScript
            reason = str(error).strip().rpartition("\n")[2]
            raise RunFailedError(reason, TAKES) from None
        outputs = answer if isinstance(answer, tuple) else (answer,)
        if not all(isinstance(one, torch.Tensor) for one in outputs):
            raise RequestError("The file answers something else than tensors.", FOREIGN)
        return join_outputs([one.numpy() for one in outputs], len(images))

    def time_ms(self, images: npt.NDArray[Any]) -> float:
        """Return the milliseconds of one `run` by this machine's clock."""
        return wall_clock_ms(self.run, images)

    def matmuls_by_dtype(self) -> Mapping[str, int]:
        """Return an empty mapping: LibTorch does not report it."""
        return {}

    def manifest_json(self) -> str | None:
        """Return the manifest among the archive's extra files."""
        return self._manifest_json
