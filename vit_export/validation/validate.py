"""The proof: an open artifact answers like the reference, at every batch size, image by image."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Self

from vit_export.artifact.batch import Batch
from vit_export.artifact.manifest import Manifest
from vit_export.artifact.outputs import (
    OutputFormat,
    align_for_comparison,
    align_rows,
    infer_output_shape,
)
from vit_export.artifact.reference import Reference
from vit_export.artifact.tolerance import Tolerance
from vit_export.backends import find_backend
from vit_export.backends.session import RunFailedError, Session
from vit_export.core.numerics import Array
from vit_export.core.progress import Progress, silent
from vit_export.validation.answers import Answer, run_batches
from vit_export.validation.compare import Comparison, compare
from vit_export.validation.samples import FileInputs, find_identical
from vit_export.validation.verdict import Verdict


@dataclass(frozen=True, kw_only=True, eq=False)
class Expectation:
    """What an artifact has to answer, and how exactly."""

    reference: Reference
    """The right answers of the model itself, each to one image."""
    batch: Batch
    """The batch sizes that the artifact takes."""
    precision: str
    tolerance: Tolerance
    classifies: bool
    """Whether the model answers logits, so that its top class has to be right too."""
    output_format: OutputFormat = "logits"

    @classmethod
    def from_manifest(cls, manifest: Manifest, reference: Reference) -> Self:
        """Return what `manifest` claims, with `reference` as the right answers."""
        return cls(
            reference=reference,
            batch=manifest.batch,
            precision=manifest.precision,
            tolerance=manifest.tolerance,
            classifies=manifest.signature.classifies,
            output_format=manifest.head,
        )


def validate_artifact(
    session: Session,
    artifact: Path,
    manifest: Manifest,
    reference: Reference,
    file_inputs: FileInputs,
    *,
    progress: Progress = silent,
    source: str = "eager PyTorch",
    not_run: str = "",
) -> Verdict:
    """Return the verdict on an artifact by all that its manifest claims; see `validate`.

    A problem that the backend finds in the open file is a failure too.
    """
    expectation = Expectation.from_manifest(manifest, reference)
    verdict = validate(
        session,
        artifact,
        expectation,
        file_inputs,
        progress=progress,
        source=source,
        not_run=not_run,
    )
    problems = find_backend(manifest.target).check_built(session, manifest)
    return replace(
        verdict,
        failures=(*verdict.failures, *problems),
        products=session.matmuls_by_dtype(),
    )


def validate(
    session: Session,
    artifact: Path,
    expectation: Expectation,
    file_inputs: FileInputs,
    *,
    progress: Progress = silent,
    source: str = "eager PyTorch",
    not_run: str = "",
) -> Verdict:
    """Return the verdict on `session`, which answers M samples alone and in batches.

    A batch size that does not run is a failure like a wrong number.

    Args:
        session: the open artifact.
        artifact: its name in the report.
        expectation: the right answers, and how far the artifact may be off.
        file_inputs: the M samples. One that differs from the sample that the reference answered
            (another Pillow, another CPU) is left out and named.
        progress: opened for every batch size.
        source: where the reference comes from, in words.
        not_run: why the artifact cannot run here, so that `session` runs the graph it was built
            from; empty if `session` runs the artifact.
    """
    reference = expectation.reference
    usable = find_identical(file_inputs, reference.digests)
    findings = _compare_all(session, file_inputs, usable, expectation, progress)
    unusable = sorted(set(range(len(file_inputs))) - set(usable))
    return Verdict(
        artifact=str(artifact),
        runtime=session.runtime,
        precision=expectation.precision,
        batches=expectation.batch.proven,
        against_eager=tuple(findings.against_eager),
        against_alone=tuple(findings.against_alone),
        not_repeated=tuple(reference.recipes[i] for i in unusable),
        failures=tuple(findings.failures),
        reference=source,
        not_run=not_run,
    )


@dataclass(frozen=True, eq=False)
class _Findings:
    """Lists that grow while a proof runs; their fields are those of `Verdict`."""

    against_eager: list[Comparison] = field(default_factory=list)
    against_alone: list[Comparison] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def _compare_all(
    session: Session,
    file_inputs: FileInputs,
    usable: Sequence[int],
    expectation: Expectation,
    progress: Progress,
) -> _Findings:
    """Compare every answer at every batch size, with eager PyTorch's and with that at size 1."""
    findings = _Findings()
    alone: dict[int, Array] = {}
    sizes, answers = expectation.batch.proven, expectation.reference.answers
    shape = infer_output_shape(expectation.output_format, answers.shape[1:])
    run = partial(run_batches, session, file_inputs, usable, sizes=sizes, shape=shape)
    for size in sizes if usable else ():
        with progress(f"prove batch {size}"):
            try:
                for answer in run(size):
                    findings.against_eager.append(_compare_with_eager(answer, expectation))
                    if answer.sample in alone:
                        values = alone[answer.sample]
                        comparison = _compare_with_alone(answer, values, expectation)
                        findings.against_alone.append(comparison)
                    elif size == 1:
                        alone[answer.sample] = answer.values
            except RunFailedError as error:
                findings.failures.append(f"batch {size} does not run: {error.message}")
    return findings


def _compare_with_eager(answer: Answer, expectation: Expectation) -> Comparison:
    logits = expectation.reference.answers[answer.sample]
    aligned = align_for_comparison(expectation.output_format, logits, answer.values)
    return _compare(aligned, answer, expectation, expectation.tolerance)


def _compare_with_alone(answer: Answer, alone: Array, expectation: Expectation) -> Comparison:
    aligned = align_rows(expectation.output_format, alone, answer.values)
    return _compare(aligned, answer, expectation, expectation.tolerance.against_alone)


def _compare(
    aligned: tuple[Array, Array], answer: Answer, expectation: Expectation, tolerance: Tolerance
) -> Comparison:
    return compare(
        *aligned,
        expectation.reference.floors[answer.sample],
        tolerance,
        classifies=expectation.classifies,
        sample=expectation.reference.recipes[answer.sample],
        batch=answer.batch,
        row=answer.row,
    )
