"""Comparing probabilities and best classes with the reference's logits."""

import numpy as np
import pytest

from vit_export.artifact.outputs import align_for_comparison

LOGITS = np.array([1, 4, 2, 0, 3, -1], np.float32)
PROBABILITIES = (np.exp(LOGITS) / np.exp(LOGITS).sum()).astype(np.float32)
BEST = np.stack([[1, 4, 2, 0, 3], PROBABILITIES[[1, 4, 2, 0, 3]]], -1).astype(np.float32)
"""Class and probability of the best five, the best first."""


def max_error(output_format, answer):
    expected, aligned = align_for_comparison(output_format, LOGITS, answer)
    return float(np.abs(expected - aligned).max())


def test_right_answers_pass():
    assert max_error("softmax", PROBABILITIES) < 1e-6
    assert max_error("top5", BEST) < 1e-6


def change_best(row, column, value):
    answer = BEST.copy()
    answer[row, column] = value
    return answer


WRONG_ANSWERS = {
    "another class": change_best(0, 0, 5),
    "a class twice": change_best(0, 0, 4),
    "a class that does not exist": change_best(4, 0, 77),
    "another score": change_best(2, 1, 0.5),
    "a score of NaN": change_best(2, 1, np.nan),
    "a negative score": change_best(2, 1, -0.1),
    "a class that is not among the best": np.concatenate(
        [BEST[:4], [[5, PROBABILITIES[5]]]]
    ).astype(np.float32),
}


@pytest.mark.parametrize("answer", WRONG_ANSWERS.values(), ids=WRONG_ANSWERS)
def test_wrong_answers_fail(answer):
    assert not max_error("top5", answer) < 0.1


def test_small_probabilities_count_too():
    """0.01% instead of 0.02% is as wrong as it was in the logits."""
    answer = PROBABILITIES.copy()
    answer[5] /= 2
    assert max_error("softmax", answer) == pytest.approx(np.log(2), rel=1e-3)
