"""A comparison passes what is near, and can fail in every way it claims to."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vit_export.artifact.outputs import (
    LOGITS,
    OutputHead,
    align_for_comparison,
    apply_head,
    measure_output_signal,
)
from vit_export.artifact.precision import PRECISIONS
from vit_export.core.numerics import log_softmax, measure_signal, snr_db
from vit_export.validation.compare import compare
from vit_export.validation.tolerances import TOLERANCES, within_budget

REFERENCE = np.array([1.0, 4.0, -2.0, 0.5], np.float32)
FLOOR = 1e-6
SIGNAL = float(np.sqrt(np.square(REFERENCE).mean()))
"""As large as the reference, as for answers that have nothing in common."""
ALLOWED = 8 * FLOOR + 1e-6 * 4


def compare_answer(
    answer,
    reference=REFERENCE,
    floor=FLOOR,
    *,
    tolerance=TOLERANCES["fp32"],
    signal=SIGNAL,
    classifies=True,
):
    return compare(
        np.asarray(reference, np.float32),
        np.asarray(answer, np.float32),
        floor,
        tolerance,
        signal=signal,
        classifies=classifies,
        sample="s",
    )


def change(index, value):
    answer = REFERENCE.copy()
    answer[index] = value
    return answer


def test_equality_passes():
    comparison = compare_answer(REFERENCE)
    assert comparison.passed
    assert (comparison.max_abs, comparison.snr_db, comparison.top1) == (0, math.inf, True)
    assert comparison.allowed == pytest.approx(ALLOWED)


def test_the_limit_is_where_the_tolerance_puts_it():
    assert compare_answer(change(3, 0.5 + 0.9 * ALLOWED)).passed
    assert not compare_answer(change(3, 0.5 + 1.1 * ALLOWED)).passed


@pytest.mark.parametrize("precision", ["fp16", "int8", "weights-int4"])
def test_a_least_snr_limits_the_error_of_lower_precisions(precision):
    tolerance = TOLERANCES[precision]
    limit = 10 ** (-tolerance.least_snr_db / 20)
    inside = compare_answer(REFERENCE * np.float32(1 + 0.9 * limit), tolerance=tolerance)
    outside = compare_answer(REFERENCE * np.float32(1 + 1.1 * limit), tolerance=tolerance)
    assert inside.passed
    assert f"at least {tolerance.least_snr_db:g} dB is required" in outside.problem


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("index", range(4))
def test_one_value_that_is_not_finite_fails(bad, index):
    comparison = compare_answer(change(index, bad))
    assert not comparison.passed
    assert "1 of 4 values are NaN or infinite" in comparison.problem
    assert (comparison.max_abs, comparison.snr_db) == (math.inf, -math.inf)


def test_nan_on_both_sides_is_no_agreement():
    comparison = compare_answer(change(0, np.nan), reference=change(0, np.nan))
    assert comparison.problem == "the reference itself is not finite"


def test_another_top_class_fails_even_within_the_tolerance():
    reference = [1.0, 1.0 + 2e-6, 0, -1]
    comparison = compare_answer([1.0 + 4e-6, 1.0 + 2e-6, 0, -1], reference, floor=5e-7)
    assert comparison.max_abs < comparison.allowed
    assert comparison.problem == "top class 0 instead of 1"


def test_top_classes_within_the_noise_are_not_compared():
    reference = [1.0, 1.0 + 2e-6, 0, -1]
    comparison = compare_answer([1.0 + 4e-6, 1.0 + 2e-6, 0, -1], reference, floor=2e-6)
    assert comparison.passed
    assert comparison.top1 is None


def test_features_have_no_top_class():
    assert compare_answer(REFERENCE, classifies=False).top1 is None


@given(arrays(np.float32, 6, elements=st.floats(-100, 100, width=32)), st.floats(1e-7, 1e-3))
def test_a_comparison_passes_exactly_within_its_limit(reference, floor):
    """A wrong scale fails wherever its error exceeds what is allowed."""
    comparison = compare_answer(reference * np.float32(1.01), reference, floor=floor)
    within = comparison.max_abs <= comparison.allowed and comparison.top1 is not False
    within = within and comparison.snr_db >= comparison.least_snr_db
    assert comparison.passed == within


# Tolerances


def test_every_precision_has_a_tolerance_with_its_reason():
    assert set(TOLERANCES) == set(PRECISIONS) - {"auto"}
    assert all(tolerance.reason for tolerance in TOLERANCES.values())


@pytest.mark.parametrize("tolerance", TOLERANCES.values(), ids=TOLERANCES.keys())
def test_rows_of_a_batch_are_never_held_to_less_than_the_file(tolerance):
    alone = tolerance.against_alone
    assert (alone.floors, alone.relative) == (tolerance.floors, tolerance.relative)
    assert (alone.least_snr_db or 0) >= (tolerance.least_snr_db or 0)


def test_two_answers_within_a_budget_differ_by_twice_its_error():
    tolerance = within_budget(35)
    assert tolerance.least_snr_db == 35
    assert tolerance.against_alone.least_snr_db == pytest.approx(35 - 6.02, abs=0.01)


# Numerics


@pytest.mark.parametrize(("error", "expected"), [(0.1, 20), (0.01, 40)])
def test_snr(error, expected):
    reference = np.arange(10, dtype=np.float32)
    assert snr_db(1.0, reference, reference + np.float32(error)) == pytest.approx(expected, abs=0.1)


def test_snr_without_a_signal():
    zero = np.zeros(3, np.float32)
    assert snr_db(0.0, zero, zero) == math.inf
    assert snr_db(0.0, zero, zero + 1) == -math.inf
    assert snr_db(math.nan, zero, zero + 1) == -math.inf


@given(arrays(np.float32, (5, 4), elements=st.floats(-100, 100, width=32)), st.floats(-1e6, 1e6))
def test_the_signal_is_what_depends_on_the_image(answers, offset):
    """An offset that all images share is no signal, however large it is."""
    exact = answers.astype(np.float64)
    expected = np.sqrt(np.square(exact - exact.mean(axis=0)).mean())
    assert measure_signal(exact) == pytest.approx(expected, rel=1e-6, abs=1e-9)
    assert measure_signal(exact + offset) == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert measure_signal(np.stack([exact[0]] * 3)) == 0


def test_an_answer_that_is_not_finite_leaves_no_signal():
    assert math.isnan(measure_signal(np.array([[1.0], [np.inf], [2.0]])))
    assert measure_signal([]) == 0


@pytest.mark.parametrize("head", [OutputHead("softmax"), OutputHead("top5")])
def test_the_offset_of_log_probabilities_is_no_signal(head):
    """The logarithms of 1000 nearly equal probabilities lie near -6.9, whatever the image is."""
    logits = np.random.RandomState(0).standard_normal((8, 1000)).astype(np.float32) * 0.1
    signal = measure_output_signal(head, logits)
    assert signal == pytest.approx(0.1 * np.sqrt(7 / 8), rel=0.05)
    assert signal == pytest.approx(measure_output_signal(LOGITS, logits), rel=0.05)


@pytest.mark.parametrize("head", [OutputHead("softmax"), OutputHead("top5")])
def test_a_common_factor_of_all_probabilities_is_an_error(head):
    logits = np.random.RandomState(0).standard_normal(9).astype(np.float32)
    answer = apply_head(head, logits)
    exact, same = align_for_comparison(head, logits, answer)
    np.testing.assert_allclose(same, exact, atol=1e-6)
    answer[..., -1 if head.output_format == "top5" else slice(None)] /= 2
    exact, halved = align_for_comparison(head, logits, answer)
    np.testing.assert_allclose(exact - halved, np.log(2), atol=1e-6)


def test_log_softmax_of_large_logits_does_not_overflow():
    logs = log_softmax(np.array([1e4, 1e4, -1e4], np.float32))
    assert logs.dtype == np.float32
    np.testing.assert_allclose(logs, -np.log(2) + np.array([0, 0, -2e4]), rtol=1e-6)
