"""How each kind of contestant is opened, in a process of its own."""

import time
from collections.abc import Callable
from pathlib import Path

from vit_export.backends.open import open_artifact
from vit_export.bench import gemm as products
from vit_export.bench import modules, sessions
from vit_export.bench import torchao as pt2e
from vit_export.bench.candidates import Contestant, Opened, Run
from vit_export.core.numerics import Array

Clock = Callable[[Array], float]
"""Runs a batch of images (B, C, H, W) and says how many milliseconds that took."""


def opened(contestant: Contestant) -> Opened:
    """What runs a batch of images (B, C, H, W), and the version of what does it."""
    return OPENERS[contestant.kind](contestant)


def clock_of(run: Run) -> Clock:
    """What times one call: the GPU's own clock where `run` is an engine's, else this machine's."""
    of_gpu: Clock | None = getattr(getattr(run, "__self__", None), "timed_ms", None)
    if of_gpu is not None:
        return of_gpu

    def timed_ms(images: Array) -> float:
        started = time.perf_counter()
        run(images)
        return 1000 * (time.perf_counter() - started)

    return timed_ms


def _artifact(contestant: Contestant) -> Opened:
    session = open_artifact(Path(contestant.path), contestant.threads)
    return session.run, session.runtime


OPENERS: dict[str, Callable[[Contestant], Opened]] = {
    "artifact": _artifact,
    "eager": modules.eager,
    "compile": modules.compiled,
    "torchao": pt2e.torchao,
    "onnxruntime": sessions.in_onnxruntime,
    "openvino": sessions.in_openvino,
    "torch-products": products.fp32_in_torch,
    "int8-products": products.int8_in_onnxruntime,
    "torch-int8-products": products.int8_in_torch,
}
