"""ONNX files in ONNX Runtime on the CPU; neither torch nor the package onnx is needed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vit_export.artifact.manifest import KEY
from vit_export.backends.onnx.data_files import check_data_files
from vit_export.backends.onnx.onnxruntime_versions import explain_refusal
from vit_export.backends.records import FileInterface, FileTensor
from vit_export.backends.session import (
    FOREIGN,
    TAKES,
    RunFailedError,
    check_memory,
    join_outputs,
    wall_clock_ms,
)
from vit_export.core.cpu import identify_cpu
from vit_export.core.errors import MissingError, RequestError
from vit_export.core.int8_sums import PRECISE, needs_precise
from vit_export.core.numerics import Array

MAGIC = b"\x08"
"""How an ONNX file begins: field 1 of ModelProto, ir_version."""
DTYPES = {"tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
"""Types of the input other than fp32, by ONNX Runtime's name."""
NUMPY_TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int64)": "int64",
}
"""NumPy's names of ONNX Runtime's types; others keep its own."""
QUIET = 4
"""ONNX Runtime's log level "fatal"; errors come back as exceptions anyway."""


def open_inference_session(path: Path, threads: int | None) -> Any:
    """Return ONNX Runtime's own session on any ONNX file, on the CPU and without log output.

    On a CPU where 8-bit sums saturate, the session has the option that is exact, unless the file
    says that its sums fit. It raises ONNX Runtime's own exceptions, which share no base class.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = QUIET
    options.intra_op_num_threads = threads or 0
    if needs_precise(path):
        options.add_session_config_entry(PRECISE, "1")
    providers = ["CPUExecutionProvider"]
    return onnxruntime.InferenceSession(str(path), options, providers=providers)


def run_session(
    session: Any, names: Sequence[str] | None, inputs: Mapping[str, npt.NDArray[Any]]
) -> list[Any]:
    """Return the values `names` of ONNX Runtime's own session; None stands for all outputs.

    Raises:
        RunFailedError: ONNX Runtime refuses; the message is its own.
        MemoryError: there is too little memory.
    """
    try:
        values: list[Any] = session.run(names, inputs)
    except Exception as error:  # noqa: BLE001 its exceptions share no base class
        check_memory(error)
        raise RunFailedError(str(error).partition("\n")[0], TAKES) from None
    return values


def _read_texts(session: Any, path: Path) -> tuple[str, str | None]:
    """Return the name of the first input, empty without any, and the manifest in the metadata.

    Raises:
        RequestError: a text in the file is not UTF-8, which ONNX Runtime notices only here.
    """
    try:
        names = [one.name for one in session.get_inputs()]
        manifest = session.get_modelmeta().custom_metadata_map.get(KEY)
    except UnicodeDecodeError:
        message = f"{path} is no intact ONNX file: it has text that is not UTF-8."
        raise RequestError(message, "copy it again, or export the model again.") from None
    return (*names, "")[0], manifest


def _describe_options(session: Any) -> str:
    """Return the option that a session sets to be exact on this CPU, after a comma, if any."""
    try:
        return f", {PRECISE}={session.get_session_options().get_session_config_entry(PRECISE)}"
    except RuntimeError:  # it is not set
        return ""


def _describe_interface(session: Any) -> FileInterface:
    """Return the inputs and outputs of a session of ONNX Runtime's own."""
    inputs, outputs = (
        tuple(
            FileTensor(
                one.name,
                NUMPY_TYPES.get(one.type, one.type),
                tuple(side if isinstance(side, int) else None for side in one.shape),
            )
            for one in tensors
        )
        for tensors in (session.get_inputs(), session.get_outputs())
    )
    return FileInterface(inputs, outputs)


def _check_interface(session: Any, path: Path) -> None:
    """Raise RequestError unless a file has one input and outputs of numbers."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    types = [one.type for one in outputs]
    if len(inputs) != 1:
        raise RequestError(f"{path} has {len(inputs)} inputs, and images need one.", FOREIGN)
    if inputs[0].type not in {"tensor(float)", *DTYPES}:
        raise RequestError(f"{path} takes {inputs[0].type}, which is no image.", FOREIGN)
    if not all(one.startswith("tensor(") and "string" not in one for one in types):
        raise RequestError(f"{path} answers {', '.join(types)}, not numbers alone.", FOREIGN)


class OnnxSession:
    """An ONNX file, open in ONNX Runtime's CPU provider.

    Args:
        path: the file; weights above 2 GB stand beside it.
        threads: intra-op threads; None for ONNX Runtime's default.
        outputs: names of the outputs that it answers, in this order; empty for all of them.

    Raises:
        RequestError: ONNX Runtime does not open the file, or its external weights have changed.
        NotHereError: ONNX Runtime is too old for the file.
        MissingError: ONNX Runtime is not installed.
    """

    def __init__(self, path: Path, threads: int | None = None, outputs: Sequence[str] = ()) -> None:
        try:
            import onnxruntime
        except ModuleNotFoundError:
            message = f"{path} is an ONNX file and needs ONNX Runtime."
            raise MissingError(message, "pip install onnxruntime") from None
        check_data_files(path)
        try:
            self._session = open_inference_session(path, threads)
        except Exception as error:  # noqa: BLE001 its exceptions share no base class
            check_memory(error)
            raise explain_refusal(path, error, onnxruntime.__version__) from None
        self._input, self._manifest_json = _read_texts(self._session, path)
        _check_interface(self._session, path)
        cpu = f"CPU, {identify_cpu().name}{_describe_options(self._session)}"
        self.runtime = f"ONNX Runtime {onnxruntime.__version__} ({cpu})"
        (image,) = self._session.get_inputs()
        self.interface = _describe_interface(self._session)
        self.output_names = tuple(outputs) or tuple(one.name for one in self.interface.outputs)
        self._dtype: type = DTYPES.get(image.type, np.float32)
        self.takes_fp16 = self._dtype == np.float16

    def run(self, images: npt.NDArray[Any]) -> Array:
        """Return the answers (B, …) to `images` (B, C, H, W), or to pixels (B, H, W, C).

        Raises:
            RunFailedError: ONNX Runtime refuses.
            MemoryError: there is too little memory.
        """
        inputs: dict[str, npt.NDArray[Any]] = {self._input: images.astype(self._dtype)}
        return join_outputs(run_session(self._session, self.output_names, inputs), len(images))

    def time_ms(self, images: npt.NDArray[Any]) -> float:
        """Return the milliseconds of one `run` by this machine's clock."""
        return wall_clock_ms(self.run, images)

    def matmuls_by_dtype(self) -> Mapping[str, int]:
        """Return an empty mapping: ONNX Runtime does not report it."""
        return {}

    def manifest_json(self) -> str | None:
        """Return the manifest in the model's metadata."""
        return self._manifest_json
