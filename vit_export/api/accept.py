"""The verdict on a file that was just written, and what becomes of the file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vit_export.artifact.manifest import Manifest
from vit_export.artifact.reference import Reference
from vit_export.backends import BACKENDS
from vit_export.backends.base import Backend
from vit_export.backends.open import open_artifact
from vit_export.backends.records import RunFacts
from vit_export.backends.session import NotHereError, Session
from vit_export.core.errors import MissingError, RequestError
from vit_export.core.progress import Progress
from vit_export.core.staging import Staged, rejected_names
from vit_export.core.to_json import to_json
from vit_export.validation.accuracy import AccuracyEvaluation
from vit_export.validation.samples import FileInputs
from vit_export.validation.validate import validate_artifact
from vit_export.validation.verdict import Built, Origin, RejectedError, Verdict


def judged(
    stage: Staged,
    backend: Backend,
    manifest: Manifest,
    expected: tuple[Reference, FileInputs],
    exam: AccuracyEvaluation,
    *,
    threads: int | None,
    progress: Progress,
) -> Verdict:
    """The verdict on the staged file, opened as its user will open it, and its worth on images."""
    try:
        session, not_run = _open(stage, backend, threads)
    except RequestError as error:  # what was just written is no artifact
        return Verdict.reject(stage.out, manifest.precision, error.message)
    verdict = validate_artifact(
        session, stage.out, manifest, *expected, progress=progress, not_run=not_run
    )
    return exam.run_artifact(verdict, session, manifest, progress)


def _open(stage: Staged, backend: Backend, threads: int | None) -> tuple[Session, str]:
    """A session on the staged file; or on what stands in for it, and why it can't run itself."""
    try:
        return open_artifact(stage.file, threads), ""
    except NotHereError as error:
        graph = backend.stand_in(stage.file)
        if graph is None:
            raise
        return open_artifact(graph, threads), error.reason


def settle(
    stage: Staged, backend: Backend, verdict: Verdict, origin: Origin, settings: Mapping[str, Any]
) -> Built:
    """The staged file takes its name, or is kept as a rejected one.

    Of precision auto the user's images have to be within the budget too.

    Raises:
        RejectedError: it is not the model.
        MissingError: it could not be run, and that was asked for.
    """
    if origin.search is not None:
        verdict = verdict.apply_budget(origin.search.budget)
    facts = RunFacts(not_run=verdict.not_run, matmuls_by_dtype=verdict.products)
    if not verdict.accepted:
        kept = _keep_rejected(stage, backend, verdict)
        fix = f"{backend.remedy(kept, facts)}; {stage.out.name} is as it was."
        if origin.search is not None:  # it may be the model, and not as near as was asked
            fix = f"ask for less, or --calibration on images like these; or {fix}"
        raise RejectedError(verdict, fix)
    if verdict.not_run and settings.get("require_run"):
        kept = _keep_rejected(stage, backend, verdict)
        message = f"{stage.out.name} could not be run: {verdict.not_run}."
        raise MissingError(message, f"it is kept as {kept}; leave --require-run out.")
    notes = tuple(backend.finish(stage.file, facts, settings))
    size = sum(file.stat().st_size for file in stage.folder.iterdir())
    stage.commit(_former_files(stage.out, backend))
    return Built(path=stage.out, size_bytes=size, origin=origin, verdict=verdict, notes=notes)


def _keep_rejected(stage: Staged, backend: Backend, verdict: Verdict) -> Path:
    backend.keep_rejected(stage.file)
    return stage.reject(to_json(verdict.to_mapping()))


def _former_files(out: Path, backend: Backend) -> list[Path]:
    """Return what belongs to the OUT before this one, and to one that was rejected, by anyone."""
    rejected, _ = rejected_names(out)
    left = [file for one in BACKENDS.values() for file in one.companions(rejected)]
    return [*backend.companions(out), *left]
