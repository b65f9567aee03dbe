"""TorchScript: traced and frozen, for LibTorch."""

import io
import re
import warnings
from pathlib import Path
from zipfile import ZipFile, ZipInfo

from vit_export.artifact.manifest import INTERFACE_KEY
from vit_export.backends.base import Job, Target
from vit_export.backends.interface import INTERFACE
from vit_export.backends.torchscript.session import EXTRA_FILE
from vit_export.core.progress import Progress

EXAMPLE_BATCH = 2
MANGLED = re.compile(rb"[./]___torch_mangle_\d+")


def build(job: Job, path: Path, progress: Progress) -> None:
    """Writes the job's module as a TorchScript archive with the manifest among its extra files."""
    import torch

    from vit_export.backends.torchscript.wrapper import filed

    manifest, spec = job.manifest, job.manifest.require_spec()
    example = torch.zeros(manifest.batch.fixed or EXAMPLE_BATCH, spec.channels, *spec.image_size)
    if manifest.takes_pixels:
        example = example.permute(0, 2, 3, 1).byte()
    with warnings.catch_warnings():
        # PyTorch deprecates TorchScript; doctor and the README say so, once, in words.
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is", DeprecationWarning)
        with progress("trace"), torch.no_grad():
            traced = torch.jit.trace(filed(job.lowered, manifest), (example,), check_trace=False)
            frozen = torch.jit.freeze(traced.eval())
            told = {EXTRA_FILE: manifest.to_json(), INTERFACE_KEY: manifest.interface}
            archive = frozen.save_to_buffer(_extra_files=told)
    with progress("write"):
        _write_reproducibly(archive, path)


def _write_reproducibly(archive: bytes, path: Path) -> None:
    """Writes the zip `archive` less what differs between machines and runs.

    That is: source positions (paths!), an id hashed over them, and the number that LibTorch puts
    behind a class name when the process has traced before. That Python writes the file has one more
    reason: on a full disk LibTorch's own writer aborts the process from a destructor.
    """
    with ZipFile(io.BytesIO(archive)) as source, ZipFile(path, "w") as target:
        for record in source.infolist():
            if not record.filename.endswith((".debug_pkl", "/serialization_id")):
                name = MANGLED.sub(b"", record.filename.encode()).decode()
                content = source.read(record)
                if name.endswith((".py", "/data.pkl")):
                    content = MANGLED.sub(b"", content)
                target.writestr(ZipInfo(name), content)  # dated 1980, as by LibTorch


TARGET = Target(
    name="torchscript",
    suffix=".pt",
    summary="A TorchScript archive, traced and frozen, for LibTorch in C++ and on phones.",
    note="PyTorch has deprecated TorchScript in favour of torch.export; it is for those who still "
    "ship LibTorch. For everything new take onnx.",
    packages=("torch",),
    options=INTERFACE,
    build=build,
)
