"""What users run instead: eager PyTorch, torch.compile, a plain export in two runtimes.

And what they have of int8: the plain export through ONNX Runtime's quantizers, and torchao.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from vit_export.bench.candidates import Contestant
from vit_export.bench.modules import made_vit
from vit_export.bench.ort_quantizers import QUANTIZERS
from vit_export.core.errors import MissingError, RequestError, did_you_mean
from vit_export.core.numerics import Array
from vit_export.core.packages import versions_of
from vit_export.model.vit.spec import VitSpec


@dataclass(frozen=True)
class Plain:
    """A peer that opens what torch.onnx.export gives of the eager model."""

    runtime: str
    """Its package, and the kind of its contestant."""
    dynamo: bool = True
    """Through torch.export; else through TorchScript, as before torch 2.9."""
    simplified: bool = False
    """By onnxsim."""
    quantized: str = ""
    """By this of `QUANTIZERS`."""

    @property
    def file(self) -> str:
        """The name of what it opens; peers of one export share it."""
        exporter = "dynamo" if self.dynamo else "script"
        steps = [exporter, *["sim"] * self.simplified, *filter(None, [self.quantized])]
        return f"{'-'.join(steps)}.onnx"


PLAIN = {
    "onnxruntime-plain": Plain("onnxruntime"),
    "onnxruntime-plain-sim": Plain("onnxruntime", simplified=True),
    "onnxruntime-script": Plain("onnxruntime", dynamo=False),
    "onnxruntime-script-sim": Plain("onnxruntime", dynamo=False, simplified=True),
    "openvino": Plain("openvino"),
    "ort-dynamic": Plain("onnxruntime", quantized="dynamic"),
    "ort-static": Plain("onnxruntime", quantized="static"),
}
MODULES = {"eager": "torch", "compile": "torch", "torchao": "torchao"}
"""Peers that run the eager model itself, with their packages."""
PEERS = (*MODULES, *PLAIN)
INT8_PEERS = ("ort-dynamic", "ort-static", "torchao")


def check_peers(names: Sequence[str]) -> None:
    """Nothing, when all peers are known and installed.

    Raises:
        RequestError: an unknown name.
        MissingError: a package is not installed.
    """
    for name in names:
        if name not in PEERS:
            raise RequestError(f"There is no peer {name!r}.", did_you_mean(name, PEERS))
        package = PLAIN[name].runtime if name in PLAIN else MODULES[name]
        if not versions_of([package]):
            raise MissingError(f"{name} needs {package}.", f"pip install {package}")


def peers(
    names: Sequence[str],
    spec: VitSpec,
    weights: str,
    *,
    batches: Array,
    folder: Path,
    threads: int | None,
) -> list[Contestant]:
    """The peers of a model of `spec`; what they export stands in `folder`.

    `weights` is a safetensors file of our names; random ones where it is empty. Who needs scales
    takes them from `batches` (M, B, C, H, W).
    """
    calibration = folder / "calibration.npy"
    np.save(calibration, batches)
    made = []
    for name in names:
        one = Contestant(
            name=name,
            kind=name,
            arithmetic="int8" if name in INT8_PEERS else "fp32",
            weights=weights,
            threads=threads,
        )
        if name in PLAIN:
            path = _export(PLAIN[name], spec, weights, batches, folder)
            one = replace(one, kind=PLAIN[name].runtime, path=str(path))
        else:
            one = replace(one, spec=asdict(spec), calibration=str(calibration))
        made.append(one)
    return made


def _export(plain: Plain, spec: VitSpec, weights: str, batches: Array, folder: Path) -> Path:
    """The file that `plain` opens, made where no other peer made it."""
    path = folder / plain.file
    if path.exists():
        return path
    if plain.quantized:
        base = _export(replace(plain, quantized=""), spec, weights, batches, folder)
        QUANTIZERS[plain.quantized](base, path, batches)
    elif plain.simplified:
        base = _export(replace(plain, simplified=False), spec, weights, batches, folder)
        _simplify(base, path)
    else:
        from vit_export.graph.capture import export_plainly

        export_plainly(made_vit(spec, weights), spec, path, dynamo=plain.dynamo)
    return path


def _simplify(plain: Path, path: Path) -> None:
    import onnx
    import onnxsim

    model, _ = onnxsim.simplify(str(plain))
    onnx.save(model, path)
