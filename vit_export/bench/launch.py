"""Candidates at the start: each in its own process, with its size and its accuracy."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from vit_export.artifact.manifest import Manifest
from vit_export.artifact.output_signals import OutputSignals
from vit_export.artifact.outputs import check_answer_shape
from vit_export.backends.open import find_backend_of, open_artifact, read_manifest
from vit_export.bench.baselines import build_baseline
from vit_export.bench.candidates import GPU, Candidate, infer_arithmetic
from vit_export.bench.eager import make_recipe
from vit_export.bench.foreign import adopt_manifest
from vit_export.bench.interleave import Worker
from vit_export.checkpoints.rebuild import ModelSource
from vit_export.core.errors import RequestError, VitExportError
from vit_export.core.numerics import Array
from vit_export.core.staging import data_files
from vit_export.validation.sample_set import remake_sample_set
from vit_export.validation.samples import find_identical

NOISE_BATCHES = 8
"""Number of batches of noise to calibrate on if no sample can be made again."""


@dataclass(frozen=True, eq=False)
class Artifact:
    """A file to bench."""

    path: Path
    manifest: Manifest
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class RunningCandidate:
    """A candidate in its process; a context that ends the process."""

    worker: Worker
    size_bytes: int | None
    """Size of its file with all external data; None for a candidate without a file."""
    worst_snr_db: float | None
    """Signal-to-noise ratio against eager PyTorch, of the worst sample; None if unknown."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.worker.close()


@dataclass(frozen=True)
class SkippedBaseline:
    """A baseline that can't take a user's own code."""

    name: str
    reason: str
    """Why, as a sentence of the exporter or the runtime."""


@dataclass(frozen=True, eq=False)
class AnsweredSamples:
    """Samples of an artifact with the answers of eager PyTorch."""

    samples: Array
    """(M, B, C, H, W): each sample repeated to a batch that the artifact takes."""
    answers: Array
    """(M, ...): one answer per sample."""
    signals: OutputSignals
    """The signal of each output."""

    def measure_worst_snr_db(self, worker: Worker, folder: Path) -> float | None:
        """Return the least signal-to-noise ratio in dB; None if there are no samples.

        Raises:
            BuildError: the candidate fails on the samples.
            RequestError: its answers are those of no such model.
            ProofError: its answers have another shape.
        """
        if not len(self.samples):
            return None
        answers = worker.answer(self.samples, folder)
        if answers.shape != self.answers.shape:
            worker.close()  # nobody else would
        check_answer_shape(worker.candidate.name, answers.shape[1:], self.answers.shape[1:])
        pairs = zip(self.answers, answers, strict=True)
        return min(self.signals.find_worst_snr_db(*pair) for pair in pairs)


def read_artifacts(paths: Sequence[Path], batches: Sequence[int], *, trust: bool) -> list[Artifact]:
    """Open the artifacts and check that they take all `batches`.

    The first one sets the model, which files of other tools have to be too.

    Raises:
        RequestError: vit-export did not write the first file, another one has other inputs and
            outputs, or one does not take one of the batches.
    """
    files: list[Artifact] = []
    for path in paths:
        session = open_artifact(path, trust=trust)
        if session.manifest_json() is None:
            manifest = adopt_manifest(path, files[0].manifest if files else None)
        else:
            manifest = read_manifest(session, path)
        files.append(_check(path, manifest, batches))
    return files


def _check(path: Path, manifest: Manifest, batches: Sequence[int]) -> Artifact:
    manifest.check_plain(path)
    for batch in batches:
        if not manifest.batch.takes(batch):
            message = f"{path} takes batch {manifest.batch}, not {batch}."
            raise RequestError(message, "give another --batch.")
    size_bytes = sum(file.stat().st_size for file in (path, *data_files(path)))
    return Artifact(path, manifest, size_bytes)


def launch_artifact(artifact: Artifact, threads: int | None, folder: Path) -> RunningCandidate:
    """Open an artifact in its own process and measure its accuracy.

    Raises:
        BuildError: it can't be opened or run.
        RequestError: it is a foreign file with our manifest.
        ProofError: its answers have another shape than the manifest says.
    """
    on_gpu, precision = find_backend_of(artifact.path).on_gpu, artifact.manifest.precision
    candidate = Candidate(
        name=artifact.path.name,
        kind="artifact",
        arithmetic=GPU if on_gpu else infer_arithmetic(precision),
        path=str(artifact.path),
        threads=threads,
    )
    worker = Worker(candidate)
    worst = remake_samples(artifact.manifest).measure_worst_snr_db(worker, folder)
    return RunningCandidate(worker=worker, size_bytes=artifact.size_bytes, worst_snr_db=worst)


def launch_baselines(
    artifact: Artifact,
    names: Sequence[str],
    source: ModelSource,
    threads: int | None,
    folder: Path,
) -> Iterator[RunningCandidate | SkippedBaseline]:
    """Open each baseline in its own process and measure its accuracy.

    Baselines have the weights of `artifact`. If those of a ViT are nowhere to be found, they have
    random weights and no accuracy. Baselines that need calibration use the samples of the artifact.
    A baseline that can't take the user's own code is skipped.

    Raises:
        RequestError: `source` is not what the artifact was exported from.
        BuildError: a baseline of a known ViT can't be opened or run.
    """
    if not names:
        return
    manifest = artifact.manifest
    eager = make_recipe(artifact.path, manifest, source, folder)
    samples = remake_samples(manifest)
    batches = choose_calibration_batches(samples, manifest)
    for name in names:
        try:
            candidate = build_baseline(name, eager, batches=batches, folder=folder, threads=threads)
            worker = Worker(candidate)
            worst = samples.measure_worst_snr_db(worker, folder) if eager.has_weights else None
        except Exception as error:
            if manifest.spec is not None:
                raise
            yield SkippedBaseline(name, _describe_failure(error))
            continue
        size_bytes = Path(candidate.path).stat().st_size if candidate.path else None
        yield RunningCandidate(worker=worker, size_bytes=size_bytes, worst_snr_db=worst)


def _describe_failure(error: Exception) -> str:
    """Return in one line why a baseline can't take part: code of others may fail in any way."""
    if isinstance(error, VitExportError):
        return error.message
    from vit_export.graph.general import describe_cause

    return f"{describe_cause(error)}."


def remake_samples(manifest: Manifest) -> AnsweredSamples:
    """Make the samples of `manifest` again; those that differ on this machine are left out."""
    reference = manifest.reference
    samples = remake_sample_set(manifest).inputs
    same = find_identical(samples, reference.digests)
    batches = np.repeat(samples[same][:, None], manifest.batch.min, axis=1)  # (M, B, C, H, W)
    signals = OutputSignals.measure(reference.select(same), manifest.signature)
    return AnsweredSamples(batches, reference.answers[same], signals)


def choose_calibration_batches(samples: AnsweredSamples, manifest: Manifest) -> Array:
    """Return batches (M, B, C, H, W) to calibrate on: the samples, or noise if there are none."""
    if len(samples.samples):
        return samples.samples
    shape = (NOISE_BATCHES, manifest.batch.min, *manifest.signature.sample_shape)
    return np.random.default_rng(0).standard_normal(shape, np.float32)
