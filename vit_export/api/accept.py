"""Validates a file that was just written, and commits or rejects it."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from vit_export.api.request import ExportRequest
from vit_export.api.result import ExportResult, Origin
from vit_export.artifact.manifest import Manifest
from vit_export.artifact.reference import Reference
from vit_export.backends import BACKENDS
from vit_export.backends.base import Backend
from vit_export.backends.open import open_artifact
from vit_export.backends.records import RunFacts
from vit_export.backends.session import NotHereError, Session
from vit_export.core.errors import BuildError, MissingError, RequestError
from vit_export.core.progress import Progress
from vit_export.core.staging import Staging, rejected_names
from vit_export.core.to_json import to_json
from vit_export.validation.accuracy import AccuracyEvaluation
from vit_export.validation.claims import choose_tolerance, find_false_precision
from vit_export.validation.elsewhere import validate_elsewhere
from vit_export.validation.expectation import Expectation
from vit_export.validation.samples import FileInputs
from vit_export.validation.validate import validate_artifact
from vit_export.validation.verdict import RejectedError, Verdict


def validate_staged(
    stage: Staging,
    request: ExportRequest,
    manifest: Manifest,
    expected: tuple[Reference, FileInputs],
    evaluation: AccuracyEvaluation,
    *,
    progress: Progress,
) -> Verdict:
    """Return the verdict on the staged file, opened as its user will, with its accuracy on images.

    Args:
        stage: the file, under the name that it will have.
        request: the export request.
        manifest: the one that was written with the file.
        expected: the eager model's answers, and the samples as the file takes them.
        evaluation: the user's images.
        progress: opened around every stage.

    Raises:
        MissingError: the file can't run here, and no other file can run in its place.
    """
    reference, file_inputs = expected
    try:
        session, not_run = _open(stage, request)
        arithmetic = request.backend.find_precisions(stage.file)
    except RequestError as error:  # what was just written is no artifact
        return Verdict.reject(stage.out, manifest.precision, error.message)
    expectation = Expectation.from_manifest(
        manifest, reference, choose_tolerance(manifest, arithmetic)
    )

    prove = partial(
        validate_artifact,
        artifact=stage.out,
        manifest=manifest,
        expectation=expectation,
        file_inputs=file_inputs,
        progress=progress,
        source=request.reference_name,
        not_run=not_run,
    )
    verdict = validate_elsewhere(
        prove(session), stage.file, manifest, prove, threads=request.threads, progress=progress
    )
    verdict = verdict.add_failures(find_false_precision(manifest, arithmetic))
    return evaluation.run_artifact(verdict, session, manifest, progress)


def _open(stage: Staging, request: ExportRequest) -> tuple[Session, str]:
    """Return a session on the staged file, or on its stand-in and why the file can't run here."""
    try:
        return open_artifact(stage.file, request.threads, trust=True), ""
    except NotHereError as error:
        stand_in = request.backend.stand_in(stage.file)
        if stand_in is None:
            raise
        return open_artifact(stand_in, request.threads, trust=True), error.reason


def accept(
    stage: Staging,
    request: ExportRequest,
    verdict: Verdict,
    origin: Origin,
    fingerprint: Mapping[str, str],
) -> ExportResult:
    """Give the staged file its name, or keep it as a rejected one.

    For precision auto the user's images have to stay within the budget too.

    Args:
        stage: the file, under the name that it will have.
        request: the export request.
        verdict: the verdict on the file.
        origin: where the model came from.
        fingerprint: `stage.fingerprint()` from before the file was opened.

    Raises:
        RejectedError: the file is not the model.
        BuildError: the file changed since its fingerprint was taken.
        MissingError: the file could not be run, and the request needs that.
    """
    if request.quantization.precision == "auto":
        verdict = verdict.apply_budget(request.quantization.budget)
    backend = request.backend
    facts = RunFacts(not_run=verdict.not_run, matmuls_by_dtype=verdict.products)
    if not verdict.accepted:
        raise RejectedError(verdict, _reject(stage, request, verdict, facts))
    if verdict.not_run and request.options.get("require_run"):
        _, kept = _keep_rejected(stage, backend, verdict)
        message = f"{stage.out.name} could not be run: {verdict.not_run}."
        raise MissingError(message, f"leave --require-run out; {kept}.")
    if not fingerprint.items() <= stage.fingerprint().items():
        message = f"{stage.out.name} changed while it was proven; {stage.out} is as it was."
        raise BuildError(message, "export it again, where no other program writes.")
    notes = tuple(backend.finish(stage.file, facts, request.options))
    size = sum(file.stat().st_size for file in stage.folder.iterdir())
    stage.commit(_former_files(stage.out, backend))
    return ExportResult(
        path=stage.out, size_bytes=size, origin=origin, verdict=verdict, notes=notes
    )


def _reject(stage: Staging, request: ExportRequest, verdict: Verdict, facts: RunFacts) -> str:
    """Keep a rejected file, and return what its user can do."""
    rejected, kept = _keep_rejected(stage, request.backend, verdict)
    advice = request.backend.advise(rejected, facts) if rejected else kept
    if verdict.is_wrong_elsewhere:  # `locate` compares in the backend's own runtime
        advice = "export it --for another runtime, and report this"
    fix = f"{advice}; {stage.out.name} is as it was."
    if request.quantization.precision == "auto":  # maybe the model, only less exact than requested
        fix = f"allow more error, or give images like these to --calibration; or {fix}"
    return fix


def _keep_rejected(stage: Staging, backend: Backend, verdict: Verdict) -> tuple[Path | None, str]:
    """Keep a rejected file; return its path, and a clause that says so or why it is not kept."""
    try:
        backend.keep_rejected(stage.file)
        rejected = stage.reject(to_json(verdict.to_mapping()))
    except OSError as error:
        name = rejected_names(stage.out)[0]
        reason = error.strerror or error
        return None, f"move what is called {name} away: the file is not kept there ({reason})"
    return rejected, f"it is kept as {rejected}"


def _former_files(out: Path, backend: Backend) -> list[Path]:
    """Return the companions of an earlier OUT, and of an earlier rejected one of any backend."""
    rejected, _ = rejected_names(out)
    of_rejected = [file for one in BACKENDS.values() for file in one.companions(rejected)]
    return [*backend.companions(out), *of_rejected]
