"""Validates an existing file: against the answers in its manifest, or against its checkpoint."""

from pathlib import Path

from vit_export.artifact.manifest import Manifest
from vit_export.artifact.reference import Reference
from vit_export.backends import find_backend
from vit_export.backends.open import open_artifact, read_manifest
from vit_export.backends.session import Session
from vit_export.checkpoints.from_manifest import rebuild_vit
from vit_export.core.errors import MissingError, RequestError
from vit_export.core.progress import Progress, silent, warn
from vit_export.data.annotations import read_annotations
from vit_export.data.dataset import ImageDataset, open_dataset
from vit_export.validation.accuracy import AccuracyEvaluation
from vit_export.validation.html_report import write_report
from vit_export.validation.sample_set import SampleSet, remake_sample_set
from vit_export.validation.validate import validate_artifact
from vit_export.validation.verdict import Verdict


def validate(
    artifact: str | Path,
    *,
    weights: str | Path | None = None,
    images: str | Path | None = None,
    labels_csv: str | Path | None = None,
    report: str | Path | None = None,
    threads: int | None = None,
    progress: Progress = silent,
) -> Verdict:
    """Validate an existing file, and return the verdict. ONNX needs no torch without `weights`.

    Args:
        artifact: a file that vit-export wrote.
        weights: the checkpoint it came from, to compute the right answers in eager PyTorch. Without
            it the right answers are those in the file's manifest.
        images: a folder of images to measure accuracy on, for `Verdict.images`. A sub-folder is
            called after the class of its images, by name or index.
        labels_csv: a CSV file with the labels of `images`: a file name and a class in each row.
        report: an HTML file to write, with the verdict and its plots.
        threads: intra-op threads of the runtime; None for the runtime's default.
        progress: opened around every stage.

    Raises:
        RequestError: vit-export did not write the file, `weights` do not fit, or the images cannot
            be used: there are none, they are unreadable, their classes are unknown, or there is
            nothing to compare with.
        MissingError: the file's runtime is not installed, or no sample can be made again here.
    """
    path, checkpoint = Path(artifact), None if weights is None else Path(weights)
    annotations = read_annotations(images, labels_csv)
    session = open_artifact(path, threads)
    manifest = read_manifest(session, path)
    for sentence in find_backend(manifest.target).warnings(manifest):
        warn(progress, sentence)
    dataset = open_dataset(
        annotations,
        manifest.preprocessing,
        answer=manifest.signature.answer,
        classes=manifest.signature.classes,
        names=manifest.labels,
        progress=progress,
    )
    _check_comparable(dataset, checkpoint, manifest)
    tokens = manifest.spec.tokens if manifest.spec else None
    with AccuracyEvaluation(dataset, tokens) as evaluation:
        verdict = _validate(session, path, manifest, checkpoint, evaluation, progress=progress)
        verdict = evaluation.run_artifact(verdict, session, manifest, progress)
    if report is not None:
        write_report(Path(report), verdict, manifest)
    return verdict


def _check_comparable(
    dataset: ImageDataset | None, weights: Path | None, manifest: Manifest
) -> None:
    """Raise RequestError unless the images have labels, or eager PyTorch can answer them."""
    if dataset is not None and dataset.labels is None and weights is None:
        message = f"The images in {dataset.folder} have no labels to compare answers with."
        by_label = ", or label them by sub-folders or --labels-csv" * manifest.signature.classifies
        raise RequestError(message, f"give --weights for eager PyTorch's answers{by_label}.")


def _validate(
    session: Session,
    path: Path,
    manifest: Manifest,
    weights: Path | None,
    evaluation: AccuracyEvaluation,
    *,
    progress: Progress,
) -> Verdict:
    with progress("remake the samples"):
        samples = remake_sample_set(manifest)
    reference, source = manifest.reference, Verdict.reference
    if weights is not None:
        reference = _answer_in_eager(manifest, weights, samples, evaluation, progress)
        source = f"eager PyTorch, afresh from {weights.name}"
    verdict = validate_artifact(
        session, path, manifest, reference, samples.file_inputs, progress=progress, source=source
    )
    if len(verdict.not_repeated) == len(samples.recipes):
        message = f"{path}: none of its samples could be made again here."
        versions = ", ".join(f"{name} {version}" for name, version in manifest.versions.items())
        raise MissingError(message, f"install the versions that made the file: {versions}.")
    return verdict


def _answer_in_eager(
    manifest: Manifest,
    weights: Path,
    samples: SampleSet,
    evaluation: AccuracyEvaluation,
    progress: Progress,
) -> Reference:
    """Return the answers of eager PyTorch to the samples, and store those to the user's images."""
    from vit_export.validation.reference import compute_reference

    with progress("answer in eager PyTorch"):
        vit = rebuild_vit(manifest, weights)
        reference = compute_reference(vit, samples)
    evaluation.run_eager(vit, progress)
    return reference
