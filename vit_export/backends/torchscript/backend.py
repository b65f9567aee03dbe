"""TorchScript: the module is traced and frozen for LibTorch."""

import io
import re
import warnings
from collections.abc import Collection
from pathlib import Path
from zipfile import ZipFile, ZipInfo

from vit_export.artifact.manifest import INTERFACE_KEY, Manifest
from vit_export.backends.base import Backend
from vit_export.backends.interface import INTERFACE
from vit_export.backends.job import Job
from vit_export.backends.records import ModuleNames
from vit_export.backends.session import parse_manifest
from vit_export.backends.torchscript.archive import EXTRA_FILE, read_manifest_json
from vit_export.backends.torchscript.program import check_program
from vit_export.backends.torchscript.session import TorchScriptSession
from vit_export.backends.torchscript.taps import TorchScriptTaps
from vit_export.backends.torchscript.values import TorchScriptValues
from vit_export.core.errors import BuildError, RequestError
from vit_export.core.progress import Progress

MAGIC = b"PK\x03\x04"
"""How a zip archive begins."""
EXAMPLE_BATCH = 2
"""The batch that is traced, where the file takes more than one size."""
MANGLED = re.compile(rb"[./]___torch_mangle_\d+")
"""What LibTorch appends to a class name when the process has traced before."""


def build(job: Job, path: Path, progress: Progress) -> Manifest:
    """Write the job's module as a TorchScript archive with the manifest among its extra files."""
    import torch

    from vit_export.backends.torchscript.wrapper import wrap

    manifest, sample_shape = job.manifest, job.manifest.signature.sample_shape
    example = torch.zeros(manifest.batch.fixed or EXAMPLE_BATCH, *sample_shape)
    if manifest.takes_pixels:
        example = example.permute(0, 2, 3, 1).byte()
    with warnings.catch_warnings():
        # PyTorch deprecates TorchScript; doctor and the documentation say so, once, in words.
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is", DeprecationWarning)
        # A trace keeps these flags in each convolution, whatever the machine that runs it sets:
        # in TF32 a GPU would round fp32 to ten bits.
        exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, allow_tf32=False)
        with progress("trace"), torch.no_grad(), exact:
            traced = torch.jit.trace(wrap(job.lowered, manifest), (example,), check_trace=False)
            frozen = torch.jit.freeze(traced.eval())
            extra_files = {EXTRA_FILE: manifest.to_json(), INTERFACE_KEY: manifest.interface}
            archive = frozen.save_to_buffer(_extra_files=extra_files)
    with progress("write"):
        _write_reproducibly(archive, path)
        _check_opens(path, manifest)
    return manifest


def _check_opens(path: Path, manifest: Manifest) -> None:
    """Raise BuildError if the code of a module calls what no reader of such files lets in."""
    try:
        check_program(path)
    except RequestError as error:
        reason = error.message.replace(str(path), "it")  # the name is that of an unfinished file
        message = f"{manifest.model} as TorchScript would not open: {reason}"
        raise BuildError(message, "take vit-export onnx for this module.") from None


def _write_reproducibly(archive: bytes, path: Path) -> None:
    """Write the zip `archive` without what differs between machines and runs.

    That is: source positions (with paths), an id hashed over them, and the number that LibTorch
    appends to a class name when the process has traced before. Python writes the file for one more
    reason: on a full disk LibTorch's own writer aborts the process from a destructor.
    """
    with ZipFile(io.BytesIO(archive)) as source, ZipFile(path, "w") as copy:
        for record in source.infolist():
            if not record.filename.endswith((".debug_pkl", "/serialization_id")):
                name = MANGLED.sub(b"", record.filename.encode()).decode()
                content = source.read(record)
                if name.endswith((".py", "/data.pkl")):
                    content = MANGLED.sub(b"", content)
                copy.writestr(ZipInfo(name), content)  # dated 1980, as by LibTorch


def recognize(path: Path) -> bool:
    """Return whether a file begins as a zip archive does."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def is_artifact(path: Path) -> bool:
    """Return whether an archive carries our manifest; pickled checkpoints are zip archives too.

    The archive is not loaded, for loading may execute what it says.
    """
    try:
        with ZipFile(path) as archive:
            inside = [name.partition("/")[2] for name in archive.namelist()]
    except Exception:  # noqa: BLE001 no archive, or a damaged one: the reader of checkpoints says so
        return False
    return f"extra/{EXTRA_FILE}" in inside


def find_precisions(path: Path) -> Collection[str]:  # noqa: ARG001 the same for every file
    """Return fp32, the only precision of this backend, whose tolerance is the strictest."""
    return {"fp32"}


def open_taps(path: Path, names: ModuleNames, threads: int | None) -> TorchScriptTaps:
    """Return taps on an archive: its layers are identified by the order in which they run."""
    return TorchScriptTaps(path, names, threads)


TORCHSCRIPT = Backend(
    name="torchscript",
    title="TorchScript",
    suffix=".pt",
    owns_suffix=False,
    summary="A TorchScript archive, traced and frozen, for LibTorch in C++ and on phones.",
    note="PyTorch has deprecated TorchScript in favour of torch.export; it is for those who still "
    "ship LibTorch. For everything new take onnx.",
    program_precisions=("fp32",),
    packages=("torch",),
    options=INTERFACE,
    build=build,
    recognize=recognize,
    is_artifact=is_artifact,
    find_precisions=find_precisions,
    read_own_manifest=lambda path: parse_manifest(read_manifest_json(path), path),
    open=TorchScriptSession,
    open_taps=open_taps,
    open_values=TorchScriptValues,
)
