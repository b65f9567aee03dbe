"""An export format of transformers whose files are proven before anybody gets them.

transformers' exporters write a file of every model and compare no number. This one writes the same
ONNX file, and holds it against the model in memory.
"""

import tempfile
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vit_export.core.errors import MissingError, RequestError

if TYPE_CHECKING:  # transformers is heavy, and often not there
    from torch import nn

FORMAT = "onnx-proven"
"""The name of the format: `AutoHfExporter.from_config({"export_format": "onnx-proven"})`."""
PIXELS = "pixel_values"


def register_exporter() -> str:
    """Register the format `onnx-proven` with transformers' exporters, and return its name.

    `AutoHfExporter.from_config({"export_format": name})` then exports as the format `onnx` does,
    and raises `ProofError` unless the file answers as the model.

    Raises:
        MissingError: transformers is not installed, or has no exporters.
    """
    try:
        from transformers.exporters.auto import register_backend
        from transformers.exporters.configs import OnnxConfig
        from transformers.exporters.exporter_onnx import OnnxExporter
        from transformers.exporters.runners.runner_onnx import OnnxModelRunner
    except ImportError as error:
        message = f"transformers has no exporters here: {error}."
        raise MissingError(message, "pip install 'transformers>=5.20'") from None

    @dataclass
    class ProvenOnnxConfig(OnnxConfig):
        """`OnnxConfig` under the name of this format."""

        export_format: Any = FORMAT

    class ProvenOnnxExporter(OnnxExporter):
        """`OnnxExporter` whose program is proven."""

        export_format: Any = FORMAT
        config_class = ProvenOnnxConfig

        def export_program(
            self, model: Any, sample_inputs: MutableMapping[str, Any], config: Any
        ) -> Any:
            """Return the program and its metadata, after the proof.

            Raises:
                RequestError: the model takes more than images.
                RejectedError: the file is not the model.
            """
            program, metadata = super().export_program(model, sample_inputs, config)
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"model{self.program_suffix}"
                self.save_program(program, path)
                _prove(path, model, sample_inputs)
            return program, metadata

    register_backend(ProvenOnnxExporter, OnnxModelRunner)
    return FORMAT


def _prove(path: Path, model: "nn.Module", inputs: MutableMapping[str, Any]) -> None:
    """Raise RejectedError unless the file answers as `model`, which takes images alone."""
    from vit_export.api.validate import validate
    from vit_export.validation.verdict import RejectedError

    if set(inputs) != {PIXELS}:
        message = f"{type(model).__name__} takes {', '.join(inputs)}, and not {PIXELS} alone."
        raise RequestError(message, "take the format 'onnx', which proves nothing.")
    shape = "x".join(map(str, inputs[PIXELS].shape[1:]))
    verdict = validate(path, model=model, input_shape=shape)
    if not verdict.accepted:
        raise RejectedError(verdict, "report it to transformers; don't ship this file.")
