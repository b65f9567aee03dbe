"""Toy files: a magic word, zeros, and the weights of the lowered model; the manifest is beside."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vit_export.artifact.manifest import Manifest
from vit_export.backends.base import Backend
from vit_export.backends.job import Job
from vit_export.backends.option import Option
from vit_export.backends.records import Description
from vit_export.backends.session import RunFailedError, wall_clock_ms
from vit_export.core.errors import RequestError
from vit_export.core.numerics import Array
from vit_export.core.progress import Progress
from vit_export.core.staging import companion_path

MAGIC = b"TOY1"


def sidecar_path(path: Path) -> Path:
    """Return the path of the manifest beside a toy file."""
    return companion_path(path, ".manifest")


def build(job: Job, path: Path, progress: Progress) -> Manifest:
    """Write the weights of the job's module."""
    from safetensors.torch import save

    with progress("write"):
        weights = save({name: t.contiguous() for name, t in job.lowered.state_dict().items()})
        path.write_bytes(MAGIC + bytes(int(job.options["padding"])) + weights)
        sidecar_path(path).write_text(job.manifest.to_json())
    return job.manifest


def recognize(path: Path) -> bool:
    """Return whether a file begins as toy files do."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def read_sidecar(path: Path) -> Manifest:
    """Return the manifest beside a toy file."""
    sidecar = sidecar_path(path)
    if not sidecar.is_file():
        message = f"{path} is a toy, and {sidecar.name} is not beside it."
        raise RequestError(message, "copy both files.")
    return Manifest.from_json(sidecar.read_text(), str(sidecar))


class ToySession:
    """A toy file, open in eager PyTorch."""

    runtime = "toy runtime 1.0"
    takes_fp16 = False

    def __init__(self, path: Path, threads: int | None = None) -> None:  # noqa: ARG002 PyTorch's own
        from safetensors import SafetensorError
        from safetensors.torch import load

        from vit_export.model.vit.lowering import lower
        from vit_export.model.vit.vit import Vit

        self._manifest = read_sidecar(path)
        padding = int(self._manifest.settings.values["padding"])
        self._module = lower(Vit(self._manifest.require_spec()).eval())
        try:
            self._module.load_state_dict(load(path.read_bytes()[len(MAGIC) + padding :]))
        except SafetensorError as error:
            raise RequestError(f"{path} is no whole toy: {error}.", "copy it again.") from None

    def run(self, images: npt.NDArray[Any]) -> Array:
        """Return the answers (B, …) to `images` (B, C, H, W)."""
        import torch

        if not self._manifest.batch.takes(len(images)):
            raise RunFailedError(f"it takes no batch of {len(images)}", "give another batch.")
        with torch.inference_mode():
            return np.asarray(self._module(torch.from_numpy(images)))

    def time_ms(self, images: npt.NDArray[Any]) -> float:
        """Return the milliseconds of one `run`."""
        return wall_clock_ms(self.run, images)

    def matmuls_by_dtype(self) -> Mapping[str, int]:
        """Return nothing: a toy does not say."""
        return {}

    def manifest_json(self) -> str | None:
        """Return the manifest beside the file."""
        return self._manifest.to_json()


def companions(path: Path) -> Sequence[Path]:
    """Return the manifest."""
    return (sidecar_path(path),)


def describe(path: Path, manifest: Manifest) -> Description:
    """Return how much of the file is padding."""
    padding = manifest.settings.values["padding"]
    return Description(metadata={"toy: padding": f"{padding} of {path.stat().st_size} bytes"})


def describe_machine() -> str:
    """Return what `doctor` says."""
    return "Toys run anywhere."


TOY = Backend(
    name="toy",
    title="toy",
    suffix=".toy",
    summary="A toy for eager PyTorch, to show what a backend takes.",
    note="Nobody ships toys.",
    packages=("torch", "safetensors"),
    options=(
        Option(
            name="padding", default=0, minimum=0, maximum=64, help="Zeros in front of the weights."
        ),
    ),
    build=build,
    recognize=recognize,
    open=ToySession,
    read_own_manifest=read_sidecar,
    companions=companions,
    describe=describe,
    describe_machine=describe_machine,
)
