"""TorchScript: traced and frozen, for LibTorch."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from vit_export.manifest import Manifest
from vit_export.progress import Progress
from vit_export.runtimes.torchscript import EXTRA_FILE
from vit_export.targets.base import Target

if TYPE_CHECKING:  # torch is heavy, and listing targets must be light
    from vit_export.vit.eager import Vit

EXAMPLE_BATCH = 2


def build(vit: "Vit", manifest: Manifest, path: Path, progress: Progress) -> None:
    """Writes `vit` as a TorchScript archive with the manifest among its extra files."""
    import torch

    from vit_export.vit.lower import lower

    with progress("lower"):
        lowered = lower(vit)
    example = torch.zeros(
        manifest.batch.fixed or EXAMPLE_BATCH, vit.spec.channels, *vit.spec.image_size
    )
    with warnings.catch_warnings():
        # PyTorch deprecates TorchScript; doctor and the README say so, once, in words.
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is", DeprecationWarning)
        with progress("trace"), torch.no_grad():
            traced = torch.jit.trace(lowered, (example,), check_trace=False)
            frozen = torch.jit.freeze(traced.eval())
        with progress("write"), path.open("wb") as file:
            # Python writes what LibTorch serialized: on a full disk LibTorch's own writer aborts
            # the whole process from a destructor, Python raises.
            torch.jit.save(frozen, file, _extra_files={EXTRA_FILE: manifest.to_json()})


TARGET = Target(
    name="torchscript",
    suffix=".pt",
    summary="A TorchScript archive, traced and frozen, for LibTorch in C++ and on phones.",
    note="PyTorch has deprecated TorchScript in favour of torch.export; it is for those who still "
    "ship LibTorch. For everything new take onnx.",
    packages=("torch",),
    build=build,
)
