"""Intermediate values of a graph, as additional outputs of an ONNX Runtime session."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vit_export.core.int8_sums import FITS, FITS_KEY, INT8_OPERATORS, PRECISE, sums_saturate

if TYPE_CHECKING:  # locating a fault needs onnx; a device that runs a file does not
    import onnx

FATAL = 4
"""ONNX Runtime's severity of fatal errors; other errors come back as exceptions."""
WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"
"""ONNX Runtime's option for the folder of the weights of a model without a path."""


def open_with_values(
    model: "onnx.ModelProto", folder: Path, values: Sequence[str], threads: int | None = None
) -> Any:
    """An `onnxruntime.InferenceSession` on the CPU, whose outputs include `values`.

    Args:
        model: the graph; it changes in place: the values become outputs.
        folder: the folder of external weights.
        values: names of values inside the graph.
        threads: threads of the session; None lets ONNX Runtime choose.
    """
    import onnx
    import onnxruntime

    outputs = {output.name for output in model.graph.output}
    for value in dict.fromkeys(values):
        if value not in outputs:
            model.graph.output.append(onnx.ValueInfoProto(name=value))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = FATAL
    options.intra_op_num_threads = threads or 0
    options.add_session_config_entry(WEIGHTS_FOLDER, str(folder.absolute()))
    if _has_int8_sums(model) and sums_saturate():
        options.add_session_config_entry(PRECISE, "1")
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _has_int8_sums(model: "onnx.ModelProto") -> bool:
    """Return whether a graph multiplies integers whose sums are not known to fit.

    With the exact option ONNX Runtime refuses graphs that have weights of 8 bits alone.
    """
    if any(entry.key == FITS_KEY and entry.value == FITS for entry in model.metadata_props):
        return False
    return any(
        part.decode() in node.op_type for node in model.graph.node for part in INT8_OPERATORS
    )
