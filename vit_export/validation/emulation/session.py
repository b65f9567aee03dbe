"""An ONNX file that answers on an emulated CPU."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from vit_export.backends.session import TAKES, RunFailedError, join_outputs, wall_clock_ms
from vit_export.core.numerics import Array
from vit_export.validation.emulation.child import EmulatedProcess
from vit_export.validation.emulation.cpus import EmulatedCpu
from vit_export.validation.emulation.identity import check_identity, write_product
from vit_export.validation.emulation.launch import plan_launch

TIMEOUT_S = 1800.0
"""Seconds for one answer: DINOv2-S at 224 takes minutes for a batch."""


class EmulatedSession:
    """An ONNX file, open in an emulated process that has proven what it is.

    Args:
        process: the process; whoever opened it closes it.
        runtime: what runs the file, in words.
        takes_fp16: whether the file takes fp16.
    """

    def __init__(self, process: EmulatedProcess, runtime: str, *, takes_fp16: bool) -> None:
        self._process, self.runtime, self.takes_fp16 = process, runtime, takes_fp16

    def run(self, images: npt.NDArray[Any]) -> Array:
        """Return the answers (B, …) to `images`, as the emulated runtime computes them.

        Raises:
            RunFailedError: the runtime refuses.
            BuildError: the process ended, or takes too long.
        """
        dtype = np.float16 if self.takes_fp16 else images.dtype
        answer = self._process.ask({"run": "artifact"}, [images.astype(dtype)])
        if "error" in answer.fields:
            raise RunFailedError(answer.fields["error"], TAKES)
        return join_outputs(answer.arrays, len(images))

    def time_ms(self, images: npt.NDArray[Any]) -> float:
        """Return the milliseconds of one `run` here, which say nothing about a real CPU."""
        return wall_clock_ms(self.run, images)

    def matmuls_by_dtype(self) -> Mapping[str, int]:
        """Return an empty mapping: ONNX Runtime does not report it."""
        return {}

    def manifest_json(self) -> None:
        """Return None: the manifest is read from the file itself, not through an emulator."""


@contextmanager
def open_emulated(
    cpu: EmulatedCpu, artifact: Path, threads: int | None = None, *, timeout_s: float = TIMEOUT_S
) -> Iterator[EmulatedSession]:
    """Open the ONNX file `artifact` on `cpu`; the process ends with the context.

    Args:
        cpu: what to emulate.
        artifact: the file; its external data stands beside it.
        threads: intra-op threads; one by default, which wastes the least under an emulator.
        timeout_s: seconds that one answer may take.

    Raises:
        RunFailedError: the runtime there does not open the file.
        MissingError: the emulated process is not what it should be.
        BuildError: the emulator crashed, or takes too long.
    """
    with TemporaryDirectory(prefix="vit-export-") as folder:
        product = Path(folder, "product.onnx")
        write_product(product)
        launch = plan_launch(cpu, product)
        with EmulatedProcess(cpu.name, launch.command, timeout_s) as process:
            check_identity(cpu, process)
            fields = process.ask({"open": str(artifact.resolve()), "threads": threads or 1}).fields
            if "error" in fields:
                raise RunFailedError(fields["error"], TAKES)
            runtime = f"{fields['runtime']} in {launch.emulator}"
            yield EmulatedSession(process, runtime, takes_fp16=fields["takes_fp16"])
