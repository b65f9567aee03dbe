"""Engines that must not be opened, and what is said of each, with the GPU that is here."""

import dataclasses
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from gpu_parts.context import Context, call
from gpu_parts.folder import measure
from gpu_parts.results import Row
from vit_export.artifact.manifest import Manifest
from vit_export.backends.tensorrt.compute_capability import list_default_capabilities
from vit_export.backends.tensorrt.cuda import find_gpu
from vit_export.backends.tensorrt.engine_info import EngineInfo
from vit_export.backends.tensorrt.sidecar import write_sidecar

VERSION = "1.7.1.116"
STAND_IN = f'__version__ = "{VERSION}"\n'
"""A module that stands for TensorRT for RTX where it is not installed: it only has a version.

What is refused before anything is opened needs no more.
"""
CONTENT = b"\0trt" + bytes(range(256)) * 4
NOT_CHECKABLE, OTHER_GPU = "not checkable here: no GPU here", "here is a"


def try_refusals(context: Context) -> Iterator[Row]:
    """Yield whether `validate` refuses each engine with the right exit code, in words."""
    library = context.work / "stand-in"
    if find_spec("tensorrt_rtx") is None:
        yield _try(context, "its library is not installed", {}, 3, "not installed")
        library.mkdir(exist_ok=True)
        (library / "tensorrt_rtx.py").write_text(STAND_IN, encoding="utf-8")
        facts = "a module with the version alone stands for it in the rows that follow"
        yield Row(case="TensorRT for RTX is not here", outcome="recorded", facts=facts)
    gpu = find_gpu()
    path = str(library) if library.is_dir() else ""
    other = NOT_CHECKABLE if gpu is None else OTHER_GPU
    yield _try(context, "it is for another capability", {"capabilities": ["1.0"]}, 3, other, path)
    words = "was built by TensorRT for RTX 0.9"
    yield _try(context, "another version built it", {"version": "0.9"}, 3, words, path)
    yield _try(context, "it is cut off", {"size_bytes": len(CONTENT) + 1}, 2, "is cut off", path)
    yield _try(context, "it is damaged", {"sha256": "0" * 64}, 2, "is damaged", path)
    if gpu is not None and gpu.capability not in list_default_capabilities():
        case, words = f"the library does not name a {gpu.name}", "compiles for compute capability"
        yield _try(context, case, {}, 3, words, path)
    else:
        why = "needs a GPU of another capability: 9.0 or 10.x"
        yield Row(case="the library does not name the GPU", outcome="skipped", facts=why)


def _try(  # noqa: PLR0917 a table of calls reads best without names
    context: Context, case: str, change: dict[str, object], code: int, words: str, path: str = ""
) -> Row:
    """Return whether an engine whose record has `change` is refused with `code` and `words`."""
    engine = write_engine(context, context.work / "refused.engine", change)
    answer = call(context.work, "validate", engine, "--quiet", path=path)
    is_right = answer.code == code and words in answer.sentence and "Fix: " in answer.err
    facts = f"exit code {answer.code}: {answer.sentence}"
    return Row(case=case, outcome="ok" if is_right else "FAILED", facts=facts)


def _find_version() -> str:
    """Return the version of TensorRT for RTX, or that of the stand-in."""
    try:
        return version("tensorrt-rtx-cu13-bindings")
    except PackageNotFoundError:
        return VERSION


def write_engine(context: Context, path: Path, change: dict[str, object]) -> Path:
    """Write a file that begins as an engine does, and a manifest that describes it."""
    path.write_bytes(CONTENT)
    size, digest = measure(path)
    model = next(one for one in context.contents.models if one.travels and not one.preprocesses)
    manifest = Manifest.from_json(context.read_manifest_json(model), model.manifest)
    info = EngineInfo(kind="rtx", version=_find_version(), size_bytes=size, sha256=digest)
    engine = {**info.to_mapping(), **change}
    write_sidecar(path, dataclasses.replace(manifest, target="trt", engine=engine))
    return path


def copy_engine(source: Path, folder: Path) -> Path:
    """Copy an engine and its manifest into a folder; return the copy."""
    for file in (source, source.with_name(f"{source.name}.json")):
        shutil.copyfile(file, folder / file.name)
    return folder / source.name
