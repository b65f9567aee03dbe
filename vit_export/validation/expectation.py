"""What an artifact has to answer, and the comparison of one answer with it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
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
from vit_export.model.signature import Signature
from vit_export.validation.answers import Answer
from vit_export.validation.compare import Comparison, compare
from vit_export.validation.sharpness import CONSTANT, loosen_for_constant


@dataclass(frozen=True, kw_only=True, eq=False)
class OutputExpectation:
    """What one output of an artifact has to answer, and how exactly."""

    name: str
    """Empty if the artifact has no other output."""
    reference: Reference
    """The right answers of this output, each to one image."""
    tolerance: Tolerance
    signal: float
    """The signal of the model's answers (`core.numerics`)."""
    classifies: bool
    """Whether the largest logit is the answer, so that the top class has to be right too."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Expectation:
    """What an artifact has to answer, and how exactly."""

    reference: Reference
    """The right answers of the model itself, each to one image."""
    signature: Signature
    """The outputs of the model."""
    batch: Batch
    """The batch sizes that the artifact takes."""
    precision: str
    tolerance: Tolerance
    head: OutputHead = LOGITS
    outputs: tuple[OutputExpectation, ...]
    """What each output has to answer."""

    @classmethod
    def make(
        cls,
        reference: Reference,
        signature: Signature,
        tolerance: Tolerance,
        *,
        batch: Batch,
        precision: str,
        classifies: bool,
        head: OutputHead = LOGITS,
    ) -> Self:
        """Return what a file has to answer.

        Args:
            reference: the right answers; those to the user's images do not count as signal.
            signature: the outputs of the model.
            tolerance: how far the file may be off.
            batch: the batch sizes that the file takes.
            precision: of the file.
            classifies: whether the largest of the logits is the answer.
            head: what stands behind the model in the file.
        """
        outputs = []
        for output, part in reference.split(signature):
            common = part.without_user_images()
            one = OutputExpectation(
                name=output.name if signature.is_joined else "",
                reference=part,
                tolerance=loosen_for_constant(tolerance, common),
                signal=measure_output_signal(head, common.answers),
                classifies=classifies and output.meaning == "logits",
            )
            outputs.append(one)
        return cls(
            reference=reference,
            signature=signature,
            batch=batch,
            precision=precision,
            tolerance=tolerance,
            head=head,
            outputs=tuple(outputs),
        )

    @classmethod
    def from_manifest(cls, manifest: Manifest, reference: Reference, tolerance: Tolerance) -> Self:
        """Return what a file has to answer.

        Args:
            manifest: its batch sizes and its output format.
            reference: the right answers; those to the user's images do not count as signal.
            tolerance: how far the file may be off.
        """
        return cls.make(
            reference,
            manifest.signature,
            tolerance,
            batch=manifest.batch,
            precision=manifest.precision,
            classifies=manifest.exclusive_classes is not None,
            head=manifest.output_head,
        )

    def select(self, positions: Sequence[int], digests: tuple[str, ...]) -> Self:
        """Return what the file has to answer to a part of the samples, which have new digests."""
        reference = replace(self.reference.select(positions), digests=digests)
        outputs = (replace(one, reference=one.reference.select(positions)) for one in self.outputs)
        return replace(self, reference=reference, outputs=tuple(outputs))


def compare_with_eager(answer: Answer, expectation: Expectation) -> Iterator[Comparison]:
    """Yield the comparison of each output of one answer with eager PyTorch's."""
    right = expectation.reference.answers[answer.sample]
    for output, logits, values in _pair(expectation, right, answer):
        aligned = align_for_comparison(expectation.head, logits, values)
        yield _compare(aligned, answer, output, output.tolerance)


def compare_with_alone(
    answer: Answer, alone: Array, expectation: Expectation
) -> Iterator[Comparison]:
    """Yield the comparison of each output of one row with the answer to the same image alone."""
    for output, first, values in _pair(expectation, alone, answer):
        aligned = align_rows(expectation.head, first, values)
        yield _compare(aligned, answer, output, output.tolerance.against_alone)


def _pair(
    expectation: Expectation, right: Array, answer: Answer
) -> Iterator[tuple[OutputExpectation, Array, Array]]:
    """Yield each output with its part of the right answer and of the file's."""
    parts = expectation.signature.split(right), expectation.signature.split(answer.values)
    for output, (_, expected), (_, values) in zip(expectation.outputs, *parts, strict=True):
        yield output, expected, values


def _compare(
    aligned: tuple[Array, Array], answer: Answer, output: OutputExpectation, tolerance: Tolerance
) -> Comparison:
    return compare(
        *aligned,
        output.reference.floors[answer.sample],
        tolerance,
        signal=output.signal,
        classifies=output.classifies,
        sample=output.reference.recipes[answer.sample],
        output=output.name,
        batch=answer.batch,
        row=answer.row,
    )


def find_blindness(expectation: Expectation) -> list[str]:
    """Return a phrase for each output that the proof would accept with its rows exchanged.

    This runs the comparison of the proof itself: each sample gets its neighbour's right answer.
    """
    reference = expectation.reference
    answers = [apply_head(expectation.head, one) for one in reference.answers]
    blind = {output.name for output in expectation.outputs}
    for i in range(len(answers)):
        exchanged = Answer(sample=i, batch=1, row=0, values=answers[i - 1])
        comparisons = compare_with_eager(exchanged, expectation)
        blind -= {one.output for one in comparisons if not one.passed}
    names = (output.name for output in expectation.outputs if output.name in blind)
    return [f"{name}: {CONSTANT}" if name else CONSTANT for name in names]
