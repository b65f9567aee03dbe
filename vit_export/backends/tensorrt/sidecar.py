"""The files beside an engine: its manifest, which an engine cannot hold, and its graph."""

import hashlib
import json
from pathlib import Path

from vit_export.artifact.manifest import KEY, Manifest
from vit_export.backends.tensorrt.engine_info import EngineInfo
from vit_export.core.errors import RequestError
from vit_export.core.staging import companion_path, data_files

MAGIC = b"trt"
"""Bytes 1 to 3 of an engine: `ftrt` of TensorRT, `vtrt` of TensorRT for RTX, and others."""
ZIP_MAGIC = b"PK"
"""How a program of torch-tensorrt begins: it is a zip archive."""
VERSION_BYTES = slice(24, 28)
"""Where an engine says which version built it (NVIDIA/TensorRT issue 3073)."""
HEAD_BYTES = 28
COPY = "copy the one that belongs to it."


def sidecar_path(engine: Path) -> Path:
    """Return the path of the manifest beside `engine`: OUT.json."""
    return companion_path(engine, ".json")


def graph_path(engine: Path) -> Path:
    """Return the path of the graph that `engine` was built from: OUT.onnx."""
    return companion_path(engine, ".onnx")


def twin_path(engine: Path) -> Path:
    """Return the path of the fp32 graph that a CPU runs in place of a bf16 one: OUT.fp32.onnx.

    It is there only while `engine` is proven.
    """
    return companion_path(engine, ".fp32.onnx")


def list_companions(engine: Path) -> tuple[Path, ...]:
    """Return the manifest of `engine`, the graph that it was built from, and the graph's weights.

    A graph of that name which was not written beside an engine is the user's own, and so are its
    weights.
    """
    graph = graph_path(engine)
    files = (*data_files(graph), *data_files(twin_path(engine)))
    if graph.is_file():
        files = (graph, *files) if _was_built_from(graph) else ()
    return (sidecar_path(engine), *files)


def _was_built_from(graph: Path) -> bool:
    """Return whether the manifest in a graph says that an engine was built from it."""
    try:
        import onnx
    except ImportError:
        return True  # a device only reads what is beside an engine
    try:
        model = onnx.load(str(graph), load_external_data=False)
    except Exception:  # noqa: BLE001 no ONNX at all, whatever its reader says to it
        return False
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    try:
        return bool(Manifest.from_json(metadata.get(KEY, ""), str(graph)).engine)
    except RequestError:
        return False


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file in hex, as the manifest keeps it of an engine and its graph."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_engine(path: Path) -> bool:
    """Return whether a file is an engine by its own bytes, or a program by its manifest."""
    with path.open("rb") as file:
        head = file.read(4)
    return head[1:] == MAGIC or (head.startswith(ZIP_MAGIC) and _is_program(path))


def _is_program(path: Path) -> bool:
    """Return whether JSON beside a zip archive says that torch-tensorrt built the archive."""
    try:
        document = json.loads(sidecar_path(path).read_bytes())
        return bool(document["engine"]["kind"] == "torch")
    except (OSError, ValueError, KeyError, TypeError, RecursionError):  # no such file, or anybody's
        return False


def write_sidecar(engine: Path, manifest: Manifest) -> None:
    """Write `manifest` beside an engine, indented so that people can read it."""
    text = json.dumps(json.loads(manifest.to_json()), sort_keys=True, indent=1)
    sidecar_path(engine).write_text(f"{text}\n", encoding="utf-8")


def read_sidecar(engine: Path) -> Manifest:
    """Return the manifest beside an engine; its engine's record is checked.

    Raises:
        RequestError: there is none, or it is not the manifest of an engine.
    """
    path = sidecar_path(engine)
    try:
        content = path.read_bytes()
    except OSError:
        message = f"{engine} is {_describe_head(engine)}, and {path.name} is not beside it."
        raise RequestError(message, "copy both files that vit-export wrote.") from None
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise RequestError(f"{path} can't be read: it is not UTF-8 text.", COPY) from None
    manifest = Manifest.from_json(text, str(path))
    if not manifest.engine:
        raise RequestError(f"{path} describes no engine.", COPY)
    try:
        info = EngineInfo.from_mapping(manifest.engine, str(path))
    except RequestError as error:
        raise RequestError(error.message, COPY) from None
    for key in ("sha256", "size_bytes"):
        if getattr(info, key) is None:
            raise RequestError(f"{path}: engine.{key} is missing.", COPY)
    return manifest


def _describe_head(engine: Path) -> str:
    """Return in words what the first bytes of an engine say of it."""
    with engine.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if head[1:4] != MAGIC or len(head) < HEAD_BYTES:
        return "an engine"
    return f"an engine of TensorRT {'.'.join(map(str, head[VERSION_BYTES]))}"
