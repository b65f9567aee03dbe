"""Judges another tool's file: its answers are held against the model that it should be."""

from dataclasses import replace
from pathlib import Path

from vit_export.api.adopt import AdoptedFile, adopt
from vit_export.api.validate_inputs import open_images
from vit_export.api.validation_request import ValidationRequest
from vit_export.artifact.manifest import Manifest
from vit_export.core.progress import Progress
from vit_export.data.annotations import Annotations
from vit_export.validation.accuracy import AccuracyEvaluation
from vit_export.validation.expectation import Expectation
from vit_export.validation.validate import validate_artifact
from vit_export.validation.verdict import Verdict


def validate_foreign(
    path: Path,
    request: ValidationRequest,
    images: Annotations | None,
    *,
    threads: int | None,
    progress: Progress,
) -> tuple[Verdict, Manifest]:
    """Return the verdict on a file without a manifest, and the manifest that it would have.

    A file in fp32 that is not the model is told where it leaves the model.

    Raises:
        RequestError, ProofError: as in `adopt`; or the images can't be used.
    """
    file = adopt(path, request, threads, progress)
    manifest, model = file.manifest, file.model
    dataset = open_images(images, request.origin, manifest, progress)
    with AccuracyEvaluation(dataset, model.spec.tokens if model.spec else None) as evaluation:
        evaluation.run_eager(model.module, progress)
        verdict = judge(path, file, progress, f"eager PyTorch, afresh from {request.origin}")
        verdict = evaluation.run_artifact(verdict, file.session, manifest, progress)
    if not verdict.accepted and set(file.arithmetic) == {"fp32"}:
        verdict = verdict.add_failures(_find_departure(path, file, threads, progress))
    caveats = (*verdict.caveats, *file.caveats)
    return replace(verdict, seed=request.seed, caveats=caveats), manifest


def judge(
    path: Path, file: AdoptedFile, progress: Progress, source: str = "eager PyTorch"
) -> Verdict:
    """Return the verdict on the answers of a file; `source` says where the right ones come from."""
    manifest = file.manifest
    return validate_artifact(
        file.session,
        path,
        manifest,
        Expectation.from_manifest(manifest, manifest.reference, manifest.tolerance),
        file.samples.file_inputs,
        progress=progress,
        source=source,
    )


def _find_departure(
    path: Path, file: AdoptedFile, threads: int | None, progress: Progress
) -> list[str]:
    """Return a sentence that says where the file leaves the model, if its values tell."""
    from vit_export.validation.foreign_taps import ForeignTaps

    with progress("look where it leaves the model"):
        taps = ForeignTaps(path, file.model, sample=file.samples.inputs[0], threads=threads)
    sentence = taps.describe_departure()
    return [sentence] if sentence else []
