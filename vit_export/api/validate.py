"""The proof of a file that exists: repeated from its manifest, or afresh from its checkpoint."""

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
    """The verdict on a file that exists. An ONNX file needs no torch, unless `weights` are given.

    Args:
        artifact: a file that vit-export wrote.
        weights: the checkpoint it came from. Eager PyTorch answers afresh; without it the right
            answers are those in the file's manifest.
        images: a folder of images, for `Verdict.images`. A sub-folder labels its images with a
            class, by name or index.
        labels_csv: the labels of `images` instead: rows of a file name in the folder and a class.
        report: an HTML file to write, with the verdict and its plots.
        threads: intra-op threads of the runtime; None for the runtime's default.
        progress: opened around every stage.

    Raises:
        RequestError: the file is no artifact of ours, `weights` do not fit, or the images cannot
            be used: none, unreadable, labelled with unknown classes, or nothing to compare with.
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
        verdict = _prove(session, path, manifest, checkpoint, evaluation, progress=progress)
        verdict = evaluation.run_artifact(verdict, session, manifest, progress)
    if report is not None:
        write_report(Path(report), verdict, manifest)
    return verdict


def _check_comparable(
    dataset: ImageDataset | None, weights: Path | None, manifest: Manifest
) -> None:
    """Raise RequestError unless labels or eager PyTorch say what is right for the images."""
    if dataset is not None and dataset.labels is None and weights is None:
        message = f"The images in {dataset.folder} have no labels to compare answers with."
        by_label = ", or label them: sub-folders or --labels-csv" * manifest.signature.classifies
        raise RequestError(message, f"give --weights for eager PyTorch's answers{by_label}.")


def _prove(
    session: Session,
    path: Path,
    manifest: Manifest,
    weights: Path | None,
    evaluation: AccuracyEvaluation,
    *,
    progress: Progress,
) -> Verdict:
    with progress("make the samples again"):
        samples = remake_sample_set(manifest)
    reference, source = manifest.reference, Verdict.reference
    if weights is not None:
        reference = _answer_afresh(manifest, weights, samples, evaluation, progress)
        source = f"eager PyTorch, afresh from {weights.name}"
    verdict = validate_artifact(
        session, path, manifest, reference, samples.file_inputs, progress=progress, source=source
    )
    if len(verdict.not_repeated) == len(samples.recipes):
        message = f"{path}: none of its samples could be made again here."
        raise MissingError(message, f"install {dict(manifest.versions)}.")
    return verdict


def _answer_afresh(
    manifest: Manifest,
    weights: Path,
    samples: SampleSet,
    evaluation: AccuracyEvaluation,
    progress: Progress,
) -> Reference:
    """The answers of eager PyTorch to the samples; those to the user's images are stored."""
    from vit_export.validation.reference import compute_reference

    with progress("answer in eager PyTorch"):
        vit = rebuild_vit(manifest, weights)
        reference = compute_reference(vit, samples)
    evaluation.run_eager(vit, progress)
    return reference
