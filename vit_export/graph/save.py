"""A graph to a file: one up to 2 GB, above that the weights in one data file beside it."""

import hashlib
from pathlib import Path

import onnx
import onnx_ir as ir

from vit_export.core.errors import BuildError
from vit_export.graph.protobuf import write_model
from vit_export.graph.weightless import weights_as_inputs

LARGEST_FILE_BYTES = 2**31 - 2**20  # protobuf's 2 GB, less room for the graph itself
EMBEDDED_BYTES = 1024  # smaller tensors stay in the file
IR_VERSION = 10  # what ONNX Runtime 1.20 opens


def save(
    model: ir.Model, path: Path, *, opset: int, largest_file_bytes: int = LARGEST_FILE_BYTES
) -> None:
    """Has onnx.checker look at `model` and writes it to `path`.

    Weights too large for one file go to `path`.<12 hex of their SHA-256>.data.

    Raises:
        BuildError: the graph is not valid ONNX or of another opset than was asked for; nothing
            is written.
    """
    if model.opset_imports.get("") != opset:
        found = model.opset_imports.get("")
        raise BuildError(f"the graph is of opset {found}, not {opset}.", "take --opset 20.")
    model.ir_version = min(model.ir_version or IR_VERSION, IR_VERSION)
    with weights_as_inputs(model) as weights:
        proto = ir.to_proto(model)
        _check(proto)
    if sum(tensor.nbytes for tensor in weights.values()) > largest_file_bytes:
        _save_external(model, path)
        return
    inputs = [value for value in proto.graph.input if value.name not in weights]
    del proto.graph.input[:]
    proto.graph.input.extend(inputs)
    write_model(proto, weights, path)


def _check(proto: onnx.ModelProto) -> None:
    """Nothing, when the graph is valid; its weights need not be there for that."""
    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = str(error).partition("\n")[0]
        raise BuildError(f"the graph is not valid ONNX: {reason}", "report this.") from None


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
