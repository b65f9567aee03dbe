"""Graphs as files; weights above 2 GB are written to one data file beside the graph."""

import hashlib
from pathlib import Path

import onnx
import onnx_ir as ir
from onnx.helper import find_min_ir_version_for, make_opsetid

from vit_export.core.errors import BuildError
from vit_export.graph.optimize import check_graph
from vit_export.graph.protobuf import write_model
from vit_export.graph.weightless import weights_as_inputs

LARGEST_FILE_BYTES = 2**31 - 2**20  # protobuf's 2 GB, less room for the graph itself
EMBEDDED_BYTES = 1024  # smaller tensors stay in the file


def save(
    model: ir.Model, path: Path, *, opset: int, largest_file_bytes: int = LARGEST_FILE_BYTES
) -> None:
    """Check `model` with onnx.checker and write it to `path`.

    Weights too large for one file go to `path`.<12 hex digits of their SHA-256>.data.

    Args:
        model: the graph; its `ir_version` becomes the oldest that its opset permits.
        path: the file to write.
        opset: the opset that the file must have.
        largest_file_bytes: total size of the weights above which they get a file of their own.

    Raises:
        BuildError: the graph is not valid ONNX, or has another opset; nothing is written.
    """
    actual = model.opset_imports.get("")
    if actual != opset:
        raise BuildError(f"the graph has opset {actual}, not {opset}.", "take --opset 20.")
    model.ir_version = _find_oldest_ir_version(opset)
    _check(model)
    with weights_as_inputs(model) as weights:
        proto = ir.to_proto(model)
    if sum(tensor.nbytes for tensor in weights.values()) > largest_file_bytes:
        _save_external(model, path)
        return
    inputs = [value for value in proto.graph.input if value.name not in weights]
    del proto.graph.input[:]
    proto.graph.input.extend(inputs)
    write_model(proto, weights, path)


def _find_oldest_ir_version(opset: int) -> int:
    """Return the version of the file format that came with `opset`, from the table of onnx.

    A runtime that knows the opset opens it, as old as it may be.
    """
    return find_min_ir_version_for([make_opsetid("", opset)])


def _check(model: ir.Model) -> None:
    """Raise BuildError unless the graph is valid."""
    try:
        check_graph(model)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = str(error).partition("\n")[0]
        raise BuildError(f"the graph is not valid ONNX: {reason}", "report this.") from None


def _save_external(model: ir.Model, path: Path) -> None:
    """Write the graph to `path`, and its weights to a data file that is named after their hash."""
    temporary = path.with_name(f"{path.name}.data")
    ir.save(model, path, external_data=temporary.name, size_threshold_bytes=EMBEDDED_BYTES)
    with temporary.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    data = path.with_name(f"{path.name}.{digest[:12]}.data")
    temporary.rename(data)
    proto = onnx.load(path, load_external_data=False)
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = data.name
    path.write_bytes(proto.SerializeToString(deterministic=True))
