"""What users run instead: eager PyTorch, torch.compile, a plain export in two runtimes."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from vit_export.errors import MissingError, RequestError, did_you_mean
from vit_export.spec import VitSpec
from vit_export.speed.contestants import Contestant
from vit_export.versions import versions_of

PLAIN = {"onnxruntime-plain": "onnxruntime", "openvino": "openvino"}
"""Peers that open what torch.onnx.export gives of the eager model, by their runtime's package."""
PEERS = ("eager", "compile", *PLAIN)


def check_peers(names: Sequence[str]) -> None:
    """Nothing, when all peers are known and installed.

    Raises:
        RequestError: an unknown name.
        MissingError: a package is not installed.
    """
    for name in names:
        if name not in PEERS:
            raise RequestError(f"There is no peer {name!r}.", did_you_mean(name, PEERS))
        package = PLAIN.get(name, "torch")
        if not versions_of([package]):
            raise MissingError(f"{name} needs {package}.", f"pip install {package}")


def peers(
    names: Sequence[str], spec: VitSpec, folder: Path, threads: int | None
) -> list[Contestant]:
    """The peers of a model of `spec`, with random weights; a plain export goes to `folder`."""
    plain = folder / "plain.onnx"
    if PLAIN.keys() & set(names):
        _export_plainly(spec, plain)
    return [
        Contestant(name=name, kind=PLAIN[name], path=str(plain), threads=threads)
        if name in PLAIN
        else Contestant(name=name, kind=name, spec=asdict(spec), threads=threads)
        for name in names
    ]


def _export_plainly(spec: VitSpec, path: Path) -> None:
    from vit_export.graph.capture import export_plainly
    from vit_export.vit.weights import random_vit

    export_plainly(random_vit(spec, 0), spec, path)
