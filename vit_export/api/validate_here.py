"""The verdict on an existing file on this machine, and what its manifest claims falsely."""

from collections.abc import Collection
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vit_export.api.confirmation import Confirmation
from vit_export.api.validation_request import ValidationRequest
from vit_export.artifact.manifest import Manifest
from vit_export.artifact.reference import Reference
from vit_export.backends.open import find_backend_of
from vit_export.backends.session import Session
from vit_export.checkpoints.from_manifest import rebuild_vit
from vit_export.checkpoints.metadata import compare_metadata, find_metadata
from vit_export.core.errors import MissingError
from vit_export.core.progress import Progress
from vit_export.validation.accuracy import AccuracyEvaluation
from vit_export.validation.claims import (
    choose_tolerance,
    find_false_precision,
    find_false_samples,
)
from vit_export.validation.elsewhere import validate_elsewhere
from vit_export.validation.emulation.validate import Claim
from vit_export.validation.expectation import Expectation
from vit_export.validation.sample_set import SampleSet, remake_sample_set
from vit_export.validation.verdict import Verdict

if TYPE_CHECKING:  # torch is heavy, and `validate` on a file alone is done without it
    from torch import nn


def validate_here(
    session: Session,
    path: Path,
    manifest: Manifest,
    request: ValidationRequest,
    evaluation: AccuracyEvaluation,
    *,
    threads: int | None,
    progress: Progress,
) -> tuple[Verdict, Claim]:
    """Return the verdict on this machine, and what the file has to answer on every other one.

    Raises:
        RequestError: the weights do not fit.
        MissingError: no sample can be made again here.
    """
    arithmetic = find_backend_of(path).find_precisions(path)
    tolerance = choose_tolerance(manifest, arithmetic, request.min_snr)
    with progress("remake the samples"):
        samples = remake_sample_set(manifest, request.seed)
    reference, source = manifest.reference, Verdict.reference
    confirmation = Confirmation(request, manifest.reading)
    if request.origin:
        reference = _answer_in_eager(manifest, confirmation, samples, evaluation, progress)
        source = f"eager PyTorch, afresh from {request.origin}"
    expectation = Expectation.from_manifest(manifest, reference, tolerance)
    claim = Claim(path, manifest, expectation, samples.file_inputs, source)
    prove = partial(claim.validate, progress=progress)
    verdict = validate_elsewhere(
        prove(session), path, manifest, prove, threads=threads, progress=progress
    )
    if len(verdict.not_repeated) == len(samples.recipes):
        message = f"{path}: none of its samples could be made again here."
        versions = ", ".join(f"{name} {version}" for name, version in manifest.versions.items())
        raise MissingError(message, f"install the versions that made the file: {versions}.")
    verdict = replace(verdict, seed=request.seed, reading=confirmation.reading)
    verdict = verdict.add_failures(confirmation.failures)
    return _add_claims(verdict, manifest, arithmetic, samples, request), claim


def _add_claims(
    verdict: Verdict,
    manifest: Manifest,
    arithmetic: Collection[str] | None,
    samples: SampleSet,
    request: ValidationRequest,
) -> Verdict:
    """Return the verdict with what the manifest claims falsely, and what could not be checked."""
    expected = find_metadata(
        manifest, request.weights, request.preset, request.overrides, request.hints
    )
    false, unchecked = compare_metadata(manifest, expected)
    failures = [
        *find_false_precision(manifest, arithmetic),
        *find_false_samples(manifest, samples),
        *false,
    ]
    unread = arithmetic is None and not verdict.products
    claimed = ["precision as claimed"] if unread else []
    verdict = replace(verdict, caveats=(*verdict.caveats, *claimed, *unchecked))
    return verdict.add_failures(failures)


def _answer_in_eager(
    manifest: Manifest,
    confirmation: Confirmation,
    samples: SampleSet,
    evaluation: AccuracyEvaluation,
    progress: Progress,
) -> Reference:
    """Return the answers of eager PyTorch to the samples, and store those to the user's images."""
    from vit_export.checkpoints.module.rebuild import rebuild_module
    from vit_export.validation.reference import compute_reference

    request = confirmation.request
    with progress("answer in eager PyTorch"):
        module: nn.Module
        if manifest.spec is None:
            model = rebuild_module(manifest, request.module, request.weights, request.hints)
            module = model.module
        else:
            module = rebuild_vit(manifest, request.weights, request.hints, confirmation.confirm)
        reference = compute_reference(module, samples, manifest.signature)
    evaluation.run_eager(module, progress)
    return reference
