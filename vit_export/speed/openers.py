"""How each kind of contestant is opened, in a process of its own."""

from collections.abc import Callable
from pathlib import Path

from vit_export.runtimes import open_artifact
from vit_export.speed import modules, products, pt2e, sessions
from vit_export.speed.contestants import Contestant, Opened


def opened(contestant: Contestant) -> Opened:
    """What runs a batch of images (B, C, H, W), and the version of what does it."""
    return OPENERS[contestant.kind](contestant)


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
