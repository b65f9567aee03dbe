"""A proof fails for every kind of wrong answer: a fake session is wrong in one way at a time."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from vit_export.artifact.batch import Batch
from vit_export.artifact.reference import Reference
from vit_export.backends.session import RunFailedError
from vit_export.model.signature import image_signature
from vit_export.validation.expectation import Expectation
from vit_export.validation.samples import digest
from vit_export.validation.tolerances import TOLERANCES
from vit_export.validation.validate import validate

SAMPLES = np.random.RandomState(0).standard_normal((8, 1, 2, 2)).astype(np.float32)
WEIGHT = np.random.RandomState(1).standard_normal((4, 3)).astype(np.float32)


def right(images):
    return images.reshape(len(images), 4) @ WEIGHT


REFERENCE = Reference(
    recipes=tuple(f"normal:{i}" for i in range(8)),
    digests=tuple(map(digest, SAMPLES)),
    answers=np.concatenate([right(sample[None]) for sample in SAMPLES]),
    floors=(1e-6,) * 8,
)


SIGNATURE = image_signature((1, 2, 2), "logits", (3,))


class Session:
    runtime = "a fake"

    def __init__(self, answer):
        self.run = answer


def prove(answer, batch="dynamic", reference=REFERENCE, samples=SAMPLES):
    expectation = Expectation.make(
        reference,
        SIGNATURE,
        TOLERANCES["fp32"],
        batch=Batch.parse(batch),
        precision="fp32",
        classifies=True,
    )
    return validate(Session(answer), Path("f.onnx"), expectation, samples)


def test_right_answers_are_proven():
    verdict = prove(right)
    assert (verdict.status, verdict.problems) == ("PROVEN", [])
    assert verdict.batches == (1, 2, 3, 16)
    assert len(verdict.against_eager) == 8 + 2 + 3 + 16
    assert len(verdict.against_alone) == 2 + 3 + 16


def test_every_sample_runs_even_when_the_batch_is_fixed():
    verdict = prove(right, batch="3")
    assert {c.sample for c in verdict.against_eager} == set(REFERENCE.recipes)


def only_row(index, change):
    """A session's answer that is wrong in one row, in batches that have that row."""

    def answer(images):
        answers = right(images).copy()
        if len(images) > index:
            answers[index] = change(answers[index])
        return answers

    return answer


def shifted(images):
    return np.roll(right(images), 1, axis=0)


def static(size):
    def answer(images):
        if len(images) != size:
            raise RunFailedError(f"expected {size}", "no fix")
        return right(images)

    return answer


WRONG = {
    "every answer": lambda images: right(images) + np.float32(0.01),
    "a scaled logit": lambda images: right(images) * np.float32([1, 1, 1.001]),
    "NaN in the last row": only_row(15, lambda row: row * np.float32("nan")),
    "the last row": only_row(15, lambda row: row + np.float32(1e-3)),
    "the second row": only_row(1, lambda row: row[::-1]),
    "shifted": shifted,
    "batch 1 alone": static(1),
    "batch 16 alone": static(16),
    "no batch at all": static(0),
    "another shape": lambda images: right(images)[:, :2],
    "one answer too many": lambda images: np.concatenate([right(images)] * 2),
    "an empty answer": lambda images: right(images)[:0],
    "zeros": lambda images: right(images) * 0,
}


@pytest.mark.parametrize("answer", WRONG.values(), ids=WRONG.keys())
def test_wrong_answers_are_rejected(answer):
    verdict = prove(answer)
    assert verdict.status == "REJECTED"
    assert verdict.problems


def test_rows_that_depend_on_each_other_are_rejected():
    """Each image alone is right; in a batch its answer depends on the others."""

    def coupled(images):
        return right(images) + images.mean() * np.float32(len(images) > 1)

    verdict = prove(coupled)
    assert any("against the image alone" in problem for problem in verdict.problems)


def test_a_profile_is_proven_at_its_ends():
    sizes = []

    def answer(images):
        sizes.append(len(images))
        return right(images)

    assert prove(answer, batch="2:4:32").status == "PROVEN"
    assert set(sizes) == {2, 3, 4, 32}


def test_samples_that_came_out_differently_are_left_out_and_named():
    other = dataclasses.replace(REFERENCE, digests=("0" * 64, *REFERENCE.digests[1:]))
    verdict = prove(right, reference=other)
    assert verdict.status == "PROVEN"
    assert verdict.not_repeated == ("normal:0",)
    assert "normal:0" not in {c.sample for c in verdict.against_eager}


def test_without_any_sample_nothing_is_proven():
    verdict = prove(right, reference=dataclasses.replace(REFERENCE, digests=("",) * 8))
    assert verdict.status == "REJECTED"


def test_the_worst_answer_is_the_one_farthest_over_the_limit():
    verdict = prove(only_row(15, lambda row: row + np.float32(1e-3)))
    assert verdict.worst.row == 15


def test_only_images_of_one_shape_share_a_batch():
    """Every image runs alone; batches have images of the most frequent shape."""
    sizes = [(2, 3)] * 5 + [(4, 4)] * 3
    samples = [np.full((*size, 1), i, np.float32) for i, size in enumerate(sizes)]
    reference = dataclasses.replace(
        REFERENCE,
        digests=tuple(map(digest, samples)),
        answers=np.arange(8, dtype=np.float32)[:, None] + np.float32([0, 1, 2]),
    )

    def answer(images):
        return images[:, 0, 0] + np.float32([0, 1, 2])

    verdict = prove(answer, reference=reference, samples=samples)
    assert verdict.status == "PROVEN"
    assert {c.sample for c in verdict.against_eager if c.batch == 1} == set(reference.recipes)
    batched = {c.sample for c in verdict.against_eager if c.batch > 1}
    assert batched == set(reference.recipes[:5])
