"""What an artifact has to answer, and the comparison of one answer with it."""

from dataclasses import dataclass
from typing import Self

from vit_export.artifact.batch import Batch
from vit_export.artifact.manifest import Manifest
from vit_export.artifact.outputs import (
    LOGITS,
    OutputHead,
    align_for_comparison,
    align_rows,
    apply_head,
    measure_output_signal,
)
from vit_export.artifact.reference import Reference
from vit_export.artifact.tolerance import Tolerance
from vit_export.core.numerics import Array
from vit_export.validation.answers import Answer
from vit_export.validation.compare import Comparison, compare
from vit_export.validation.sharpness import CONSTANT, loosen_for_constant


@dataclass(frozen=True, kw_only=True, eq=False)
class Expectation:
    """What an artifact has to answer, and how exactly."""

    reference: Reference
    """The right answers of the model itself, each to one image."""
    batch: Batch
    """The batch sizes that the artifact takes."""
    precision: str
    tolerance: Tolerance
    signal: float
    """The signal of the model's answers (`core.numerics`)."""
    classifies: bool
    """Whether the largest logit is the answer, so that the top class has to be right too."""
    head: OutputHead = LOGITS

    @classmethod
    def from_manifest(cls, manifest: Manifest, reference: Reference, tolerance: Tolerance) -> Self:
        """Return what a file has to answer.

        Args:
            manifest: its batch sizes and its output format.
            reference: the right answers; those to the user's images do not count as signal.
            tolerance: how far the file may be off.
        """
        common = reference.without_user_images()
        return cls(
            reference=reference,
            batch=manifest.batch,
            precision=manifest.precision,
            tolerance=loosen_for_constant(tolerance, common),
            signal=measure_output_signal(manifest.output_head, common.answers),
            classifies=manifest.exclusive_classes is not None,
            head=manifest.output_head,
        )


def compare_with_eager(answer: Answer, expectation: Expectation) -> Comparison:
    """Return the comparison of one answer with eager PyTorch's."""
    logits = expectation.reference.answers[answer.sample]
    aligned = align_for_comparison(expectation.head, logits, answer.values)
    return _compare(aligned, answer, expectation, expectation.tolerance)


def compare_with_alone(answer: Answer, alone: Array, expectation: Expectation) -> Comparison:
    """Return the comparison of one row of a batch with the answer to the same image alone."""
    aligned = align_rows(expectation.head, alone, answer.values)
    return _compare(aligned, answer, expectation, expectation.tolerance.against_alone)


def _compare(
    aligned: tuple[Array, Array], answer: Answer, expectation: Expectation, tolerance: Tolerance
) -> Comparison:
    return compare(
        *aligned,
        expectation.reference.floors[answer.sample],
        tolerance,
        signal=expectation.signal,
        classifies=expectation.classifies,
        sample=expectation.reference.recipes[answer.sample],
        batch=answer.batch,
        row=answer.row,
    )


def find_blindness(expectation: Expectation) -> list[str]:
    """Return a phrase if the proof would accept the reference with its rows exchanged.

    This runs the comparison of the proof itself: each sample gets its neighbour's right answer.
    """
    reference = expectation.reference
    answers = [apply_head(expectation.head, one) for one in reference.answers]
    exchanged = [
        Answer(sample=i, batch=1, row=0, values=answers[i - 1]) for i in range(len(answers))
    ]
    comparisons = [compare_with_eager(answer, expectation) for answer in exchanged]
    return [CONSTANT] if all(one.passed for one in comparisons) else []
