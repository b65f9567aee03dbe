"""Comparing probabilities and best classes with the reference's logits."""

import numpy as np
import pytest
import torch

from vit_export.artifact.outputs import OutputHead, align_for_comparison, align_rows

LOGITS = np.array([1, 4, 2, 0, 3, -1], np.float32)
PROBABILITIES = (np.exp(LOGITS) / np.exp(LOGITS).sum()).astype(np.float32)
BEST = np.stack([[1, 4, 2, 0, 3], PROBABILITIES[[1, 4, 2, 0, 3]]], -1).astype(np.float32)
"""Class and probability of the best five, the best first."""


def max_error(output_format, answer):
    expected, aligned = align_for_comparison(OutputHead(output_format), LOGITS, answer)
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


SIGMOIDS = np.float32([-30, -12, -6, -0.01, 0, 2, 6, 9, 14, 16, 20, 90])
"""Logits; the last two have a probability of 1 in fp32."""


def sigmoid(logits):
    """As PyTorch computes it in fp32."""
    return torch.sigmoid(torch.tensor(np.float32(logits))).numpy()


def recover(answer, logits=SIGMOIDS):
    expected, recovered = align_for_comparison(OutputHead("sigmoid"), logits, answer)
    return np.abs(expected.astype(np.float64) - recovered)


def test_the_logits_behind_a_sigmoid_are_recovered():
    assert recover(sigmoid(SIGMOIDS)).max() < 1e-6


@pytest.mark.parametrize("place", range(len(SIGMOIDS)))
@pytest.mark.parametrize("error", [-2, -0.5, 0.5, 2])
def test_an_error_of_a_logit_shows_wherever_the_probability_does(place, error):
    logits = SIGMOIDS.copy()
    logits[place] += np.float32(error)
    right, wrong = sigmoid(SIGMOIDS)[place], sigmoid(logits)[place]
    shown = recover(sigmoid(logits))
    assert np.delete(shown, place).max() < 1e-6
    if abs(SIGMOIDS[place]) <= 12:
        assert shown[place] == pytest.approx(abs(error), rel=0.1)
    elif abs(float(right) - float(wrong)) > 4e-7:  # more than both probabilities may be rounded
        assert shown[place] > 0.1


@pytest.mark.parametrize("value", [np.nan, -0.1, 1.1, np.inf])
def test_what_is_no_probability_is_a_failure(value):
    answer = sigmoid(SIGMOIDS)
    answer[3] = value
    assert np.isnan(recover(answer)[3])


def test_a_probability_of_zero_or_one_is_wrong_where_the_logit_is_small():
    zeros, ones = recover(np.zeros(12, np.float32)), recover(np.ones(12, np.float32))
    assert zeros[1:].min() > 60
    assert ones[:8].min() > 6
    assert ones[-2:].max() == 0


def test_the_five_best_of_a_sigmoid_have_its_probabilities():
    def measure(answer):
        expected, aligned = align_for_comparison(OutputHead("top5", "sigmoid"), LOGITS, answer)
        return np.abs(expected - aligned).max()

    best = np.float32([1, 4, 2, 0, 3])
    assert measure(np.stack([best, sigmoid([4, 3, 2, 1, 0])], -1)) < 1e-6
    assert measure(np.stack([best, sigmoid([4, 3, 2, 1, 0.5])], -1)) > 0.4
    assert measure(BEST) > 0.5


def test_rows_of_a_batch_agree_up_to_the_rounding_of_both():
    head, alone = OutputHead("sigmoid"), sigmoid(SIGMOIDS)
    for step in (np.nextafter(alone, np.float32(0)), np.nextafter(alone, np.float32(1))):
        first, second = align_rows(head, alone, step)
        assert np.abs(first - second).max() < 1e-6
    first, second = align_rows(head, alone, sigmoid(SIGMOIDS - 0.5))
    assert (np.abs(first - second)[:8] > 0.4).all()
