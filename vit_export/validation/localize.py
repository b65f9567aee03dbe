"""Finds where an artifact stops being the model: at the first module that leaves tolerance."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vit_export.artifact.manifest import Manifest
from vit_export.artifact.outputs import check_answer_shape
from vit_export.artifact.tolerance import Tolerance
from vit_export.backends.open import find_backend_of, open_artifact, read_manifest, require_taps
from vit_export.checkpoints.rebuild import ModelSource, rebuild_identical
from vit_export.core.errors import MissingError, ProofError, RequestError
from vit_export.core.numerics import Array, SignalMeter
from vit_export.core.progress import Progress, silent
from vit_export.model.model import Model
from vit_export.model.taps import Tap
from vit_export.validation.claims import choose_tolerance
from vit_export.validation.compare import Comparison, compare
from vit_export.validation.sample_set import remake_sample_set
from vit_export.validation.samples import find_identical
from vit_export.validation.taps import PairedTaps


@dataclass(frozen=True, kw_only=True)
class ModuleComparison:
    """One module of the model, compared on every sample."""

    name: str
    worst: Comparison
    """The comparison on the sample where the artifact differs most."""

    @property
    def block(self) -> str:
        """The block that contains it; empty for a whole block and outside of blocks."""
        inside = re.match(r"(.+?\.\d+)\.", self.name)
        return inside[1] if inside else ""

    @property
    def share(self) -> float:
        """The largest error as a share of what is allowed."""
        return self.worst.error_share


@dataclass(frozen=True, kw_only=True)
class Localization:
    """Every module of an artifact compared with eager PyTorch, in running order."""

    artifact: str
    runtime: str
    """Name and version of what ran the artifact."""
    modules: tuple[ModuleComparison, ...]

    @property
    def first(self) -> ModuleComparison | None:
        """The first module that leaves tolerance."""
        return next((one for one in self.modules if not one.worst.passed), None)

    def to_mapping(self) -> Mapping[str, Any]:
        """Return plain values, for JSON."""
        return {"first": self.first.name if self.first else None} | asdict(self)


class MismatchError(ProofError):
    """An artifact differs from the model, first in one module; `location` has all modules."""

    def __init__(self, localization: Localization, first: ModuleComparison) -> None:
        message = f"{localization.artifact} leaves the model at {first.name}: {first.worst.problem}"
        super().__init__(f"{message}.", "check the weights and the quantization of that layer.")
        self.location = localization
        self.details = {"location": localization.to_mapping()}


def find_first_mismatch(
    path: Path, source: ModelSource, threads: int | None, progress: Progress = silent
) -> Localization:
    """Compare every module of the artifact at `path` with eager PyTorch, on its own samples.

    Args:
        path: the artifact.
        source: its checkpoint, and the user's own code for a model of no known family.
        threads: intra-op threads of the runtime; None for the runtime's default.
        progress: opened around every stage.

    Raises:
        RequestError: vit-export did not write the file, its modules cannot answer one by one, it
            takes no single image, or `source` is not what it was built from.
        MissingError: its runtime is not installed, or no sample can be made again here.
        ProofError: it answers another shape than its manifest says.
    """
    backend = find_backend_of(path)
    require_taps(path)
    session = open_artifact(path, threads)
    manifest = read_manifest(session, path)
    manifest.check_plain(path)
    tolerance = choose_tolerance(manifest, backend.find_precisions(path))
    manifest = replace(manifest, tolerance=tolerance)
    _check_batch(path, manifest)
    samples = _remake_samples(manifest)
    answer = session.run(samples[0][1][None])[0]  # refuses a file with other outputs
    check_answer_shape(str(path), answer.shape, manifest.signature.answer_shape)
    with progress("rebuild the model"):
        model = rebuild_identical(manifest, source)
    taps = _pair(path, manifest, model, samples[0][1], threads)
    modules = compare_modules(taps, samples, tolerance, progress)
    return Localization(artifact=str(path), runtime=session.runtime, modules=modules)


def compare_modules(
    taps: PairedTaps,
    samples: Sequence[tuple[str, Array]],
    tolerance: Tolerance,
    progress: Progress = silent,
) -> tuple[ModuleComparison, ...]:
    """Return the comparison of every module of a file with eager PyTorch, in running order.

    Args:
        taps: the modules of both.
        samples: recipe and input (C, H, W) of each sample.
        tolerance: how far a module may be off.
        progress: opened around every stage.

    Raises:
        ProofError: a module of the file answers another shape.
    """
    with progress("measure the signal of every module"):
        signals = _measure_signals(taps, [sample for _, sample in samples])
    comparisons: dict[str, list[Comparison]] = {}
    for recipe, sample in samples:
        with progress(recipe):
            outputs = taps.answer(sample)
            for name, tap in taps.expect(sample).items():
                comparison = _compare(
                    tap, outputs[name], tolerance, name=name, recipe=recipe, signal=signals[name]
                )
                comparisons.setdefault(name, []).append(comparison)
    return tuple(
        ModuleComparison(name=name, worst=max(on_samples, key=_rank))
        for name, on_samples in comparisons.items()
    )


def _pair(
    path: Path, manifest: Manifest, model: Model, sample: Array, threads: int | None
) -> PairedTaps:
    """Return the modules of the file beside those of its model."""
    if manifest.spec is not None:
        from vit_export.validation.vit_taps import VitTaps

        return VitTaps(path, manifest, model.vit, sample=sample, threads=threads)
    from vit_export.validation.module_taps import ModuleTaps

    return ModuleTaps(path, manifest, model, sample=sample, threads=threads)


def _measure_signals(taps: PairedTaps, samples: Sequence[Array]) -> dict[str, float]:
    """Return the signal of each module, by name.

    Outputs of a large model on all samples do not fit into memory, so eager PyTorch runs twice.
    """
    meters: dict[str, SignalMeter] = {}
    for sample in samples:
        for name, rows in taps.expect_fp32(sample).items():
            meters.setdefault(name, SignalMeter()).add(rows)
    return {name: meter.rms for name, meter in meters.items()}


def _check_batch(path: Path, manifest: Manifest) -> None:
    """Raise RequestError unless the file takes a single image."""
    if manifest.batch.min > 1:
        message = f"{path} takes no single image: its batch is {manifest.batch}."
        raise RequestError(
            message, "export the model with --batch dynamic, and locate in that file."
        )


def _remake_samples(manifest: Manifest) -> list[tuple[str, Array]]:
    """Return recipe and input (C, H, W) of each sample that can be made again exactly."""
    samples = remake_sample_set(manifest)
    usable = find_identical(samples.inputs, manifest.reference.digests)
    if not usable:
        fix = "install the version of Pillow that vit-export inspect shows."
        raise MissingError("None of the samples could be made again.", fix)
    return [(samples.recipes[i], samples.inputs[i]) for i in usable]


def _compare(
    tap: Tap, output: Array, tolerance: Tolerance, *, name: str, recipe: str, signal: float
) -> Comparison:
    """Compare an artifact's `output` (rows, D) of the module `name` with eager PyTorch's.

    Raises:
        ProofError: the output has another shape.
    """
    if output.shape != tap.fp32.shape:
        message = f"{name} answers {output.shape}, and that of its model {tap.fp32.shape}."
        raise ProofError(message, "export the model again.")
    return compare(
        tap.fp32.astype(np.float32),
        output,
        float(np.abs(tap.fp32 - tap.fp64).max()),
        tolerance,
        signal=signal,
        classifies=False,  # validate compares top classes; this follows the numbers
        sample=recipe,
    )


def _rank(comparison: Comparison) -> tuple[bool, float]:
    """Return a sort key by badness: any failure is worse than any success."""
    return not comparison.passed, comparison.error_share
