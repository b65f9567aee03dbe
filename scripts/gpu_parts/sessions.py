"""A TorchScript file on a device, in fp32 and in fp16 in two ways, as a session of vit-export."""

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vit_export.backends.session import TAKES, RunFailedError, join_outputs, wall_clock_ms
from vit_export.backends.torchscript.archive import read_manifest_json
from vit_export.backends.torchscript.program import check_program

ARITHMETIC = ("fp32", "autocast", "half")
"""How a file computes: as it is; in fp16 by autocast; in fp16 with its constants in fp16."""


class DeviceSession:
    """A TorchScript file, open on a device.

    Args:
        path: the archive, whose program is checked before it is loaded.
        device: `cuda` or `cpu`.
        arithmetic: one of `ARITHMETIC`.
    """

    takes_fp16 = False

    def __init__(self, path: Path, device: str, arithmetic: str = "fp32") -> None:
        check_program(path)
        self._manifest_json = read_manifest_json(path)
        self.device, self.arithmetic = torch.device(device), arithmetic
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
            self.module = torch.jit.load(str(path), map_location=self.device).eval()
        if arithmetic == "half":
            convert_constants(self.module)
        name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
        self.runtime = f"TorchScript in torch {torch.__version__} ({name}, {arithmetic})"

    def answer(self, images: torch.Tensor) -> Any:
        """Return what the file answers to images on the device, as tensors there."""
        enabled = self.arithmetic == "autocast"
        with torch.inference_mode(), torch.autocast(self.device.type, torch.float16, enabled):
            return self.module(images)

    def place(self, images: npt.NDArray[Any]) -> torch.Tensor:
        """Return images on the device, in the dtype that the file takes there."""
        placed = torch.from_numpy(np.ascontiguousarray(images)).to(self.device)
        return placed.half() if self.arithmetic == "half" and placed.is_floating_point() else placed

    def run(self, images: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return the answers (B, …) to `images`, in fp32."""
        try:
            answer = self.answer(self.place(images))
        except RuntimeError as error:
            raise RunFailedError(str(error).strip().rpartition("\n")[2], TAKES) from None
        outputs = answer if isinstance(answer, tuple) else (answer,)
        return join_outputs([one.float().cpu().numpy() for one in outputs], len(images))

    def time_ms(self, images: npt.NDArray[Any]) -> float:
        """Return the milliseconds of one `run` by this machine's clock."""
        return wall_clock_ms(self.run, images)

    def matmuls_by_dtype(self) -> Mapping[str, int]:
        """Return an empty mapping: LibTorch does not report it."""
        return {}

    def manifest_json(self) -> str | None:
        """Return the manifest among the archive's extra files."""
        return self._manifest_json


def convert_constants(module: Any) -> int:
    """Turn the fp32 constants of a frozen module into fp16; return how many there were.

    `module.half()` does nothing here: freezing turned the weights into constants of the program.
    """
    count = 0
    for node in _walk(module.graph):
        is_constant = node.kind() == "prim::Constant" and node.hasAttribute("value")
        if not is_constant or node.kindOf("value") != "t":
            continue
        if node.t("value").dtype == torch.float32:
            node.t_("value", node.t("value").half())
            count += 1
    return count


def _walk(block: Any) -> Iterator[Any]:
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from _walk(inner)


def be_exact() -> None:
    """Turn off TF32, which rounds fp32 to ten bits; torch starts with it for convolutions."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
