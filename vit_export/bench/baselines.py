"""Baselines: what users run instead of an artifact.

They are eager PyTorch, torch.compile and a plain export in two runtimes; in int8 they are the plain
export through ONNX Runtime's quantizers, and torchao.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vit_export.bench.candidates import Candidate
from vit_export.bench.eager import EagerRecipe
from vit_export.bench.ort_optimizer import optimize_transformer
from vit_export.bench.ort_quantizers import QUANTIZERS
from vit_export.core.errors import MissingError, RequestError, did_you_mean
from vit_export.core.numerics import Array
from vit_export.core.packages import find_versions


@dataclass(frozen=True)
class PlainExport:
    """What a baseline does with the file that torch.onnx.export writes of the eager model."""

    runtime: str
    """The package that runs the file; also the kind of the candidate."""
    dynamo: bool = True
    """Whether it exports through torch.export; else through TorchScript, as before torch 2.9."""
    simplified: bool = False
    """Whether onnxsim simplifies the file."""
    optimized: bool = False
    """Whether ONNX Runtime's optimizer of transformers fuses its nodes."""
    quantizer: str = ""
    """The key of `QUANTIZERS` that quantizes the file; empty for none."""

    @property
    def file(self) -> str:
        """Name of the file; baselines with the same export share it."""
        exporter = "dynamo" if self.dynamo else "script"
        steps = [exporter, *["sim"] * self.simplified, *["opt"] * self.optimized]
        steps += filter(None, [self.quantizer])
        return f"{'-'.join(steps)}.onnx"


PLAIN_EXPORTS = {
    "onnxruntime-plain": PlainExport("onnxruntime"),
    "onnxruntime-plain-sim": PlainExport("onnxruntime", simplified=True),
    "onnxruntime-script": PlainExport("onnxruntime", dynamo=False),
    "onnxruntime-script-sim": PlainExport("onnxruntime", dynamo=False, simplified=True),
    "ort-optimizer": PlainExport("onnxruntime", optimized=True),
    "openvino": PlainExport("openvino"),
    "ort-dynamic": PlainExport("onnxruntime", quantizer="dynamic"),
    "ort-static": PlainExport("onnxruntime", quantizer="static"),
}
EAGER_BASELINES = {"eager": "torch", "compile": "torch", "torchao": "torchao"}
"""Baselines that run the eager model itself, with the package that each needs."""
BASELINES = (*EAGER_BASELINES, *PLAIN_EXPORTS)
INT8_BASELINES = ("ort-dynamic", "ort-static", "torchao")


def check_baselines(names: Sequence[str]) -> None:
    """Raise an error unless every name is a baseline whose package is installed.

    Raises:
        RequestError: a name is unknown.
        MissingError: a package is not installed.
    """
    for name in names:
        if name not in BASELINES:
            raise RequestError(f"There is no baseline {name!r}.", did_you_mean(name, BASELINES))
        eager = EAGER_BASELINES.get(name)
        package = PLAIN_EXPORTS[name].runtime if eager is None else eager
        if not find_versions([package]):
            raise MissingError(f"{name} needs {package}.", f"pip install {package}")


def build_baseline(
    name: str, eager: EagerRecipe, *, batches: Array, folder: Path, threads: int | None
) -> Candidate:
    """Return a baseline of a model, and write the file that it opens into `folder`.

    Args:
        name: which of `BASELINES`.
        eager: the model.
        batches: what to calibrate on, (M, B, …).
        folder: where the files go.
        threads: number of threads; None leaves each runtime its default.
    """
    candidate = Candidate(
        name=name,
        kind=name,
        arithmetic="int8" if name in INT8_BASELINES else "fp32",
        threads=threads,
    )
    if name in PLAIN_EXPORTS:
        plain = PLAIN_EXPORTS[name]
        path = _export(plain, eager, batches, folder)
        return replace(candidate, kind=plain.runtime, path=str(path))
    calibration = folder / "calibration.npy"
    np.save(calibration, batches)
    return replace(candidate, eager=eager, calibration=str(calibration))


def _export(plain: PlainExport, eager: EagerRecipe, batches: Array, folder: Path) -> Path:
    """Return the file of `plain`, written unless another baseline has written it already."""
    path = folder / plain.file
    if path.exists():
        return path
    if plain.quantizer:
        source = _export(replace(plain, quantizer=""), eager, batches, folder)
        QUANTIZERS[plain.quantizer](source, path, batches)
    elif plain.optimized:
        source = _export(replace(plain, optimized=False), eager, batches, folder)
        optimize_transformer(source, path)
    elif plain.simplified:
        source = _export(replace(plain, simplified=False), eager, batches, folder)
        _simplify(source, path)
    else:
        from vit_export.graph.capture import export_plainly

        export_plainly(eager.build(), batches.shape[2:], path, dynamo=plain.dynamo)
    return path


def _simplify(source: Path, path: Path) -> None:
    import onnx
    import onnxsim

    model, _ = onnxsim.simplify(str(source))
    onnx.save(model, path)
