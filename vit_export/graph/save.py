"""A graph to a file: one up to 2 GB, above that the weights in one data file beside it."""

import hashlib
from pathlib import Path

import onnx
import onnx_ir as ir

from vit_export.errors import BuildError

LARGEST_FILE_BYTES = 2**31 - 2**20  # protobuf's 2 GB, less room for the graph itself
EMBEDDED_BYTES = 1024  # smaller tensors stay in the file
IR_VERSION = 10  # what ONNX Runtime 1.20 opens


def save(
    model: ir.Model, path: Path, *, opset: int, largest_file_bytes: int = LARGEST_FILE_BYTES
) -> None:
    """Writes `model` to `path` and has onnx.checker read it again.

    Weights too large for one file go to `path`.<12 hex of their SHA-256>.data.

    Raises:
        BuildError: the graph is of another opset than was asked for; nothing is written.
    """
    if dict(model.opset_imports) != {"": opset}:
        found = dict(model.opset_imports)
        raise BuildError(f"the graph is of opset {found}, not {opset}.", "take --opset 20.")
    model.ir_version = min(model.ir_version or IR_VERSION, IR_VERSION)
    tensors = [value.const_value for value in model.graph.initializers.values()]
    total = sum(tensor.nbytes for tensor in tensors if tensor is not None)
    if total <= largest_file_bytes:
        ir.save(model, path)
    else:
        _save_external(model, path)
    onnx.checker.check_model(str(path), full_check=True)


def _save_external(model: ir.Model, path: Path) -> None:
    unnamed = path.with_name(f"{path.name}.data")
    ir.save(model, path, external_data=unnamed.name, size_threshold_bytes=EMBEDDED_BYTES)
    with unnamed.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    named = path.with_name(f"{path.name}.{digest[:12]}.data")
    unnamed.rename(named)
    proto = onnx.load(path, load_external_data=False)
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = named.name
    path.write_bytes(proto.SerializeToString(deterministic=True))
