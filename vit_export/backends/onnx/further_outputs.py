"""The graph of an ONNX file that is opened with more outputs, and the errors of opening it so."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vit_export.backends.session import FOREIGN, check_memory
from vit_export.core.errors import MissingError, RequestError


@contextmanager
def read_for_outputs(path: Path) -> Iterator[Any]:
    """Yield the `onnx.ModelProto` of a file without its external weights.

    Raises:
        MissingError: the package onnx is not installed.
        RequestError: the file does not open, or what is done with its graph fails.
    """
    try:
        import onnx
    except ModuleNotFoundError:
        raise MissingError(f"{path} needs onnx.", "pip install onnx onnxruntime") from None
    try:
        yield onnx.load(path, load_external_data=False)
    except Exception as error:  # noqa: BLE001 a foreign graph makes its readers raise anything
        check_memory(error)
        reason = str(error).partition("\n")[0]
        message = f"{path} doesn't open with more outputs: {reason}"
        raise RequestError(message, FOREIGN) from None
