"""What users run instead: eager PyTorch, torch.compile, a plain export in two runtimes."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from vit_export.errors import MissingError, RequestError, did_you_mean
from vit_export.spec import VitSpec
from vit_export.speed.contestants import Contestant, made_vit
from vit_export.versions import versions_of


@dataclass(frozen=True)
class Plain:
    """A peer that opens what torch.onnx.export gives of the eager model."""

    runtime: str
    """Its package, and the kind of its contestant."""
    dynamo: bool = True
    """Through torch.export; else through TorchScript, as before torch 2.9."""
    simplified: bool = False
    """By onnxsim."""

    @property
    def file(self) -> str:
        """The name of what it opens; peers of one export share it."""
        exporter = "dynamo" if self.dynamo else "script"
        return f"{exporter}{'-sim' if self.simplified else ''}.onnx"


PLAIN = {
    "onnxruntime-plain": Plain("onnxruntime"),
    "onnxruntime-plain-sim": Plain("onnxruntime", simplified=True),
    "onnxruntime-script": Plain("onnxruntime", dynamo=False),
    "onnxruntime-script-sim": Plain("onnxruntime", dynamo=False, simplified=True),
    "openvino": Plain("openvino"),
}
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
        package = PLAIN[name].runtime if name in PLAIN else "torch"
        if not versions_of([package]):
            raise MissingError(f"{name} needs {package}.", f"pip install {package}")


def peers(
    names: Sequence[str], spec: VitSpec, weights: str, folder: Path, threads: int | None
) -> list[Contestant]:
    """The peers of a model of `spec`; what they export stands in `folder`.

    `weights` is a safetensors file of our names; random ones where it is empty.
    """
    for plain in {plain.file: plain for name, plain in PLAIN.items() if name in names}.values():
        _export(plain, spec, weights, folder)
    return [
        Contestant(
            name=name,
            kind=PLAIN[name].runtime,
            path=str(folder / PLAIN[name].file),
            threads=threads,
        )
        if name in PLAIN
        else Contestant(name=name, kind=name, spec=asdict(spec), weights=weights, threads=threads)
        for name in names
    ]


def _export(plain: Plain, spec: VitSpec, weights: str, folder: Path) -> None:
    from vit_export.graph.capture import export_plainly

    path = folder / plain.file
    export_plainly(made_vit(spec, weights), spec, path, dynamo=plain.dynamo)
    if plain.simplified:
        import onnx
        import onnxsim

        model, _ = onnxsim.simplify(str(path))
        onnx.save(model, path)
