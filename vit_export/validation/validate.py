"""The proof: an open artifact answers like the reference, at every batch size, image by image."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from vit_export.artifact.manifest import Manifest
from vit_export.artifact.outputs import infer_output_shape
from vit_export.backends import find_backend
from vit_export.backends.session import RunFailedError, Session
from vit_export.checkpoints.assumptions import list_caveats
from vit_export.core.numerics import Array
from vit_export.core.progress import Progress, silent
from vit_export.validation.answers import run_batches
from vit_export.validation.claims import describe_limit, find_too_few
from vit_export.validation.compare import Comparison
from vit_export.validation.expectation import (
    Expectation,
    compare_with_alone,
    compare_with_eager,
    find_blindness,
)
from vit_export.validation.samples import FileInputs, find_identical
from vit_export.validation.sharpness import list_noise
from vit_export.validation.verdict import Verdict


def validate_artifact(
    session: Session,
    artifact: Path,
    manifest: Manifest,
    expectation: Expectation,
    file_inputs: FileInputs,
    *,
    progress: Progress = silent,
    source: str = "eager PyTorch",
    not_run: str = "",
) -> Verdict:
    """Return the verdict on an artifact; see `validate`.

    A problem that the backend finds in the open file is a failure too. So are a reference that is
    not finite, and one whose own rounding hides other answers.
    """
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
    reference = expectation.reference.without_user_images()
    noise = list_noise(reference, manifest.signature)
    return replace(
        verdict,
        failures=(*verdict.failures, *problems, *noise),
        caveats=(
            *verdict.caveats,
            *list_caveats(manifest.assumed, answers_scores=manifest.head != "logits"),
            *find_blindness(expectation),
        ),
        limit=describe_limit(manifest, expectation.tolerance),
        products=session.matmuls_by_dtype(),
        reading=manifest.reading,
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
            (another Pillow) is left out and named; the proof needs the majority.
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
        samples=len(file_inputs),
        against_eager=tuple(findings.against_eager),
        against_alone=tuple(findings.against_alone),
        not_repeated=tuple(reference.recipes[i] for i in unusable),
        failures=(*findings.failures, *find_too_few(usable, len(file_inputs))),
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
    alone = dict[int, Array]()
    sizes, answers = expectation.batch.proven, expectation.reference.answers
    shape = infer_output_shape(expectation.head.output_format, answers.shape[1:])
    run = partial(run_batches, session, file_inputs, usable, sizes=sizes, shape=shape)
    for size in sizes if usable else ():
        with progress(f"prove batch {size}"):
            try:
                for answer in run(size):
                    findings.against_eager.extend(compare_with_eager(answer, expectation))
                    if answer.sample in alone:
                        values = alone[answer.sample]
                        comparisons = compare_with_alone(answer, values, expectation)
                        findings.against_alone.extend(comparisons)
                    elif size == 1:
                        alone[answer.sample] = answer.values
            except RunFailedError as error:
                findings.failures.append(f"batch {size} does not run: {error.message}")
    return findings
