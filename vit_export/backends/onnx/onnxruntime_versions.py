"""The first ONNX Runtime that opens a file, and what to say where an older one is installed.

The versions are those of https://onnxruntime.ai/docs/reference/compatibility.html, as far as
vit-export writes files.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from vit_export.backends.onnx.arithmetic import find_precisions
from vit_export.backends.onnx.content import read_content, read_versions
from vit_export.backends.session import NotHereError
from vit_export.core.errors import RequestError, VitExportError

Version = tuple[int, ...]

FIRST_BY_IR: dict[int, Version] = {9: (1, 15), 10: (1, 18)}
FIRST_BY_OPSET: dict[int, Version] = {19: (1, 15), 20: (1, 17), 21: (1, 18), 22: (1, 21)}
FIRST_BY_PRECISION: dict[str, Version] = {"weights-int4": (1, 19)}
TOO_NEW = re.compile(r"Unsupported model IR version|Opset \d+ is under development")
"""ONNX Runtime's own words about a file from its future."""


def explain_refusal(path: Path, error: Exception, installed: str) -> VitExportError:
    """Return the error for a file that ONNX Runtime did not open.

    It is a NotHereError if ONNX Runtime is too old, and a RequestError for any other reason.

    Args:
        path: the file.
        error: what ONNX Runtime raised.
        installed: version of ONNX Runtime.
    """
    here = f"ONNX Runtime {installed}"
    try:
        ir_version, opset = read_versions(path)
        first = _find_first(ir_version, opset, find_precisions(read_content(path)))
    except RequestError as damage:
        return damage
    if _parse(installed) < first:
        needed = ".".join(map(str, first))
        message = f"{path} needs ONNX Runtime {needed} or newer; here is {installed}."
        return NotHereError(message, f"pip install -U 'onnxruntime>={needed}'", f"{here} is older")
    if TOO_NEW.search(str(error)):
        message = f"{path} has IR version {ir_version} and opset {opset}, too new for {here}."
        fix = "pip install -U onnxruntime; if that is the newest already, copy the file again."
        return NotHereError(message, fix, f"{here} is older")
    reason = str(error).partition("\n")[0]
    message = f"{path} can't be opened by {here}: {reason}"
    return RequestError(message, "copy it again with its .data file, or export the model again.")


def _find_first(ir_version: int, opset: int, precisions: Iterable[str]) -> Version:
    """Return the first ONNX Runtime that opens such a file; no numbers where any may."""
    first = [FIRST_BY_PRECISION.get(name, ()) for name in precisions]
    return max(FIRST_BY_IR.get(ir_version, ()), FIRST_BY_OPSET.get(opset, ()), *first)


def _parse(version: str) -> Version:
    """Return the numbers at the begin of a version such as 1.17.3 or 1.20.0.dev20240901."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])
