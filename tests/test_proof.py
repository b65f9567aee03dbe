"""The proof notices what it says it notices: a fake session is wrong in one way at a time."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from vit_export.artifact.batch import Batch
from vit_export.artifact.reference import Reference
from vit_export.backends.session import RunFailedError
from vit_export.validation.samples import digest
from vit_export.validation.tolerances import TOLERANCES
from vit_export.validation.validate import prove

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


class Session:
    runtime = "a fake"

    def __init__(self, answer):
        self.run = answer


def verdict(answer, batch="dynamic", reference=REFERENCE, samples=SAMPLES):
    return prove(
        Session(answer),
        Path("f.onnx"),
        reference,
        samples,
        batch=Batch.parse(batch),
        precision="fp32",
        tolerance=TOLERANCES["fp32"],
        classifies=True,
    )


def test_right_answers_are_proven():
    found = verdict(right)
    assert (found.status, found.problems) == ("PROVEN", [])
    assert found.batches == (1, 2, 3, 16)
    assert len(found.against_eager) == 8 + 2 + 3 + 16
    assert len(found.against_alone) == 2 + 3 + 16


def test_every_sample_is_seen_even_when_the_batch_is_fixed():
    found = verdict(right, batch="3")
    assert {c.sample for c in found.against_eager} == set(REFERENCE.recipes)


def only_row(index, change):
    """An answer that is wrong in one row of batches that have it."""

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
    found = verdict(answer)
    assert found.status == "REJECTED"
    assert found.problems


def test_rows_that_lean_on_their_neighbours_are_noticed():
    """Within the tolerance against eager in no row, but the rows know each other."""

    def coupled(images):
        return right(images) + images.mean() * np.float32(len(images) > 1)

    found = verdict(coupled)
    assert any("against the image alone" in problem for problem in found.problems)


def test_a_profile_is_proven_at_its_ends():
    sizes = []

    def answer(images):
        sizes.append(len(images))
        return right(images)

    assert verdict(answer, batch="2:4:32").status == "PROVEN"
    assert set(sizes) == {2, 3, 4, 32}


def test_samples_that_came_out_different_are_left_out_and_named():
    other = dataclasses.replace(REFERENCE, digests=("0" * 64, *REFERENCE.digests[1:]))
    found = verdict(right, reference=other)
    assert found.status == "PROVEN"
    assert found.not_repeated == ("normal:0",)
    assert "normal:0" not in {c.sample for c in found.against_eager}


def test_without_any_sample_nothing_is_proven():
    found = verdict(right, reference=dataclasses.replace(REFERENCE, digests=("",) * 8))
    assert found.status == "REJECTED"


def test_the_worst_is_the_one_nearest_the_limit():
    found = verdict(only_row(15, lambda row: row + np.float32(1e-3)))
    assert found.worst.row == 15
