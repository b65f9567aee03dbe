"""Answers inside an emulated process: `python -m vit_export.validation.emulation.worker PRODUCT`.

It needs NumPy and ONNX Runtime alone. Frames come on stdin and go to stdout. The first one says
which CPU the process sees. Then each request gets one answer:

- `{"run": "product"}` with two arrays: the product that the file PRODUCT computes of them;
- `{"open": FILE, "threads": N}`: the file is opened like any other artifact;
- `{"run": "artifact"}` with one array of images: the file's answers.

An answer with the field `error` says what the runtime refused.
"""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from vit_export.backends.open import open_artifact
from vit_export.core.cpu import identify_cpu
from vit_export.core.errors import VitExportError
from vit_export.validation.emulation.frames import Frame, read_frame, write_frame

Run = Callable[..., npt.NDArray[Any]]


def open_product(path: Path) -> Run:
    """Return what computes the product of two arrays, in ONNX Runtime as it is by default.

    `open_artifact` may set an option that is exact where products saturate; here they must show.
    """
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]

    def run(*factors: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.asarray(session.run(None, dict(zip(names, factors, strict=True)))[0])

    return run


def answer(request: Frame, runs: dict[str, Run]) -> tuple[dict[str, Any], list[npt.NDArray[Any]]]:
    """Return the fields and arrays of the answer to one request; an opened file joins `runs`."""
    try:
        if "open" in request.fields:
            session = open_artifact(Path(request.fields["open"]), request.fields["threads"])
            runs["artifact"] = session.run
            return {"runtime": session.runtime, "takes_fp16": session.takes_fp16}, []
        return {}, [runs[request.fields["run"]](*request.arrays)]
    except VitExportError as error:
        return {"error": error.message}, []


def main() -> None:
    """Answer requests until stdin ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints is no frame
    runs: dict[str, Run] = {"product": open_product(Path(sys.argv[1]))}
    cpu = identify_cpu()
    write_frame(answers, {"architecture": cpu.architecture, "features": cpu.features})
    with suppress(EOFError):
        while True:
            write_frame(answers, *answer(read_frame(sys.stdin.buffer), runs))


if __name__ == "__main__":
    main()
