"""The manifest of an engine, as JSON beside it: an engine has no place for one."""

import json
from pathlib import Path

from vit_export.artifact.manifest import Manifest
from vit_export.backends.tensorrt.variants import KINDS
from vit_export.core.errors import RequestError
from vit_export.core.staging import beside

MAGIC = b"trt"
"""Bytes 1 to 3 of an engine: `ftrt` of TensorRT, `vtrt` of TensorRT for RTX, and others."""
VERSION_BYTES = slice(24, 28)
"""Where an engine says by which version it was built (NVIDIA/TensorRT issue 3073)."""
HEAD_BYTES = 28
TOLD = ("version", "sha256", "size_bytes")
"""What a manifest has to say of an engine besides its kind, for it to be opened."""
COPY = "copy the one that belongs to it."


def sidecar_of(engine: Path) -> Path:
    """OUT.json."""
    return beside(engine, ".json")


def graph_of(engine: Path) -> Path:
    """OUT.onnx: the graph that went in, where it is kept."""
    return beside(engine, ".onnx")


def twin_of(engine: Path) -> Path:
    """OUT.fp32.onnx: what answers for a graph in bf16 on a CPU, while that is proven."""
    return beside(engine, ".fp32.onnx")


def is_engine(path: Path) -> bool:
    """Whether a file is an engine by its own bytes, or a program that its sidecar calls one."""
    with path.open("rb") as file:
        head = file.read(4)
    return head[1:] == MAGIC or (head[:2] == b"PK" and _says_torch(path))


def _says_torch(path: Path) -> bool:
    try:
        return bool(read_sidecar(path).engine["kind"] == "torch")
    except (RequestError, KeyError):
        return False


def write_sidecar(engine: Path, manifest: Manifest) -> None:
    """Writes `manifest` beside an engine, for people to read too."""
    text = json.dumps(json.loads(manifest.to_json()), sort_keys=True, indent=1)
    sidecar_of(engine).write_text(f"{text}\n", encoding="utf-8")


def read_sidecar(engine: Path) -> Manifest:
    """The manifest beside an engine.

    Raises:
        RequestError: there is none, or it is not one.
    """
    path = sidecar_of(engine)
    try:
        content = path.read_bytes()
    except OSError:
        message = f"{engine} is {_built_by(engine)}, and {path.name} is not beside it."
        raise RequestError(message, "copy both files that vit-export wrote.") from None
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise RequestError(f"{path} can't be read: it is no text.", COPY) from None
    manifest = Manifest.from_json(text, str(path))
    told = manifest.engine
    if not isinstance(told, dict) or told.get("kind") not in KINDS:
        raise RequestError(f"{path} tells of no engine.", COPY)
    lacking = [name for name in TOLD if name not in told]
    if lacking:
        raise RequestError(f"{path} does not tell the engine's {', '.join(lacking)}.", COPY)
    return manifest


def _built_by(engine: Path) -> str:
    with engine.open("rb") as file:
        head = file.read(HEAD_BYTES)
    numbers = head[VERSION_BYTES]
    if head[1:4] != MAGIC or len(numbers) < len(range(24, 28)):
        return "an engine"
    return f"an engine of TensorRT {'.'.join(map(str, numbers))}"
