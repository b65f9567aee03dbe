"""A comparison passes what is near, and can fail in every way it claims to."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vit_export.core.numerics import snr_db
from vit_export.validation.compare import compare
from vit_export.validation.tolerances import TOLERANCES

FP32 = TOLERANCES["fp32"]
REFERENCE = np.array([1.0, 4.0, -2.0, 0.5], np.float32)
FLOOR = 1e-6
ALLOWED = 8 * FLOOR + 1e-6 * 4


def judge(answer, reference=REFERENCE, floor=FLOOR, *, classifies=True):
    return compare(
        np.asarray(reference, np.float32),
        np.asarray(answer, np.float32),
        floor,
        FP32,
        classifies=classifies,
        sample="s",
    )


def changed(index, value):
    answer = REFERENCE.copy()
    answer[index] = value
    return answer


def test_equality_passes():
    found = judge(REFERENCE)
    assert found.passed
    assert (found.max_abs, found.snr_db, found.top1) == (0, math.inf, True)
    assert found.allowed == pytest.approx(ALLOWED)


def test_the_limit_is_where_it_is_said_to_be():
    assert judge(changed(3, 0.5 + 0.9 * ALLOWED)).passed
    assert not judge(changed(3, 0.5 + 1.1 * ALLOWED)).passed


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("index", range(4))
def test_one_value_that_is_not_finite_fails(bad, index):
    found = judge(changed(index, bad))
    assert not found.passed
    assert "1 of 4 values are NaN or infinite" in found.problem
    assert (found.max_abs, found.snr_db) == (math.inf, -math.inf)


def test_nan_on_both_sides_is_no_agreement():
    found = judge(changed(0, np.nan), reference=changed(0, np.nan))
    assert found.problem == "the reference itself is not finite"


def test_another_top_class_fails_even_within_the_tolerance():
    reference = [1.0, 1.0 + 2e-6, 0, -1]
    found = judge([1.0 + 4e-6, 1.0 + 2e-6, 0, -1], reference, floor=5e-7)
    assert found.max_abs < found.allowed
    assert found.problem == "top class 0 instead of 1"


def test_a_margin_within_the_noise_is_not_judged():
    found = judge([1.0 + 4e-6, 1.0 + 2e-6, 0, -1], [1.0, 1.0 + 2e-6, 0, -1], floor=2e-6)
    assert found.passed
    assert found.top1 is None


def test_features_have_no_top_class():
    assert judge(REFERENCE, classifies=False).top1 is None


@pytest.mark.parametrize(("error", "expected"), [(0.1, 20), (0.01, 40)])
def test_snr(error, expected):
    reference = np.full(10, 2.0, np.float32)
    assert snr_db(reference, reference * np.float32(1 + error)) == pytest.approx(expected, abs=0.1)


def test_snr_of_a_zero_reference():
    zero = np.zeros(3, np.float32)
    assert snr_db(zero, zero) == math.inf
    assert snr_db(zero, zero + 1) == -math.inf


@given(arrays(np.float32, 6, elements=st.floats(-100, 100, width=32)), st.floats(1e-7, 1e-3))
def test_scaling_by_a_hundredth_never_passes(reference, floor):
    """A wrong scale is seen wherever it exceeds what is allowed."""
    found = judge(reference * np.float32(1.01), reference, floor=floor)
    assert found.passed == (found.max_abs <= found.allowed and found.top1 is not False)


def test_every_tolerance_has_a_reason():
    assert all(tolerance.reason for tolerance in TOLERANCES.values())
