"""An ONNX file that also answers any value of its graph, whatever its model is."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from vit_export.backends.onnx.session import run_session
from vit_export.backends.session import FOREIGN, check_memory
from vit_export.core.errors import MissingError, RequestError
from vit_export.core.numerics import Array
from vit_export.graph.evaluate import open_with_values


class OnnxValues:
    """An ONNX file in ONNX Runtime with all values of its graph as further outputs.

    Raises:
        MissingError: the package onnx is not installed.
        RequestError: ONNX Runtime does not open it.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        try:
            import onnx
        except ModuleNotFoundError:
            raise MissingError(f"{path} needs onnx.", "pip install onnx onnxruntime") from None
        try:
            model = onnx.load(path, load_external_data=False)
            answer = model.graph.output[0].name
            values = [name for node in model.graph.node for name in node.output if name]
            self._session = open_with_values(model, path.parent, values, threads)
        except Exception as error:  # noqa: BLE001 a foreign graph makes its readers raise anything
            check_memory(error)
            reason = str(error).partition("\n")[0]
            message = f"{path} doesn't open with more outputs: {reason}"
            raise RequestError(message, FOREIGN) from None
        self.names = (*(name for name in values if name != answer), answer)

    def run(self, sample: Array, names: Sequence[str]) -> Mapping[str, Array]:
        """Return those of the named values that are of floating point, for one `sample`.

        Raises:
            RunFailedError: ONNX Runtime refuses; the message is its own.
        """
        (feed,) = self._session.get_inputs()
        values = run_session(self._session, names, {feed.name: sample[None]})
        return {
            name: np.asarray(value, np.float32)
            for name, value in zip(names, values, strict=True)
            if isinstance(value, np.ndarray) and np.issubdtype(value.dtype, np.floating)
        }
