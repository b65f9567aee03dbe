"""The proof of a file that exists, repeated from its manifest, or afresh from its weights."""

from pathlib import Path

from vit_export.artifact.manifest import Manifest
from vit_export.artifact.reference import Reference
from vit_export.backends import find_backend
from vit_export.backends.open import open_artifact, read_manifest
from vit_export.backends.session import Session
from vit_export.checkpoints.from_manifest import remade_vit
from vit_export.core.errors import MissingError, RequestError
from vit_export.core.progress import Progress, silent, warn
from vit_export.data.annotations import Annotations
from vit_export.data.dataset import open_dataset
from vit_export.validation.accuracy import Examination
from vit_export.validation.sample_set import Fed, samples_again
from vit_export.validation.validate import prove_artifact
from vit_export.validation.verdict import Verdict


def validate_file(
    path: Path,
    weights: Path | None,
    given: Annotations | None,
    threads: int | None,
    progress: Progress = silent,
) -> tuple[Verdict, Manifest]:
    """The verdict on the artifact at `path`, and its manifest; without `weights` torch is not used.

    The artifact is judged on the images `given`, beside eager PyTorch with `weights`.

    Raises:
        RequestError: no artifact of ours, weights that do not fit, or no images to judge on.
        MissingError: its runtime is not installed, or no sample can be made again here.
    """
    session = open_artifact(path, threads)
    manifest = read_manifest(session, path)
    for sentence in find_backend(manifest.target).warnings(manifest):
        warn(progress, sentence)
    images = open_dataset(
        given,
        manifest.preprocessing,
        answer=manifest.signature.answer,
        classes=manifest.signature.classes,
        names=manifest.labels,
        progress=progress,
    )
    if images is not None and images.labels is None and weights is None:
        message = f"The images in {images.folder} have no labels to hold answers against."
        by_label = ", or label them: sub-folders or --labels-csv" * manifest.signature.classifies
        raise RequestError(message, f"give --weights for eager PyTorch's answers{by_label}.")
    with Examination(images) as exam:
        verdict = _proven(session, path, manifest, weights, exam, progress=progress)
        return exam.judged(verdict, session, manifest, progress), manifest


def _proven(
    session: Session,
    path: Path,
    manifest: Manifest,
    weights: Path | None,
    exam: Examination,
    *,
    progress: Progress,
) -> Verdict:
    with progress("make the samples again"):
        made = samples_again(manifest)
    reference, source = manifest.reference, Verdict.reference
    if weights is not None:
        reference = _afresh(manifest, weights, made, exam, progress)
        source = f"eager PyTorch, afresh from {weights.name}"
    verdict = prove_artifact(
        session, path, manifest, reference, made.fed, progress=progress, source=source
    )
    if len(verdict.not_repeated) == len(made.fed):
        message = f"{path}: none of its samples could be made again here."
        raise MissingError(message, f"install {dict(manifest.versions)}.")
    return verdict


def _afresh(
    manifest: Manifest, weights: Path, samples: Fed, exam: Examination, progress: Progress
) -> Reference:
    from vit_export.validation.reference import reference_of

    with progress("answer in eager PyTorch"):
        vit = remade_vit(manifest, weights)
        reference = reference_of(vit, samples.recipes, samples.inputs, samples.fed)
    exam.ask_eager(vit, progress)
    return reference
