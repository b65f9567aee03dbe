"""Which batch sizes a text means, and which of them are proven."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vit_export import RequestError
from vit_export.artifact.batch import Batch


@pytest.mark.parametrize(
    ("text", "fixed", "proven"),
    [
        ("dynamic", None, (1, 2, 3, 16)),
        ("1", 1, (1,)),
        ("8", 8, (8,)),
        ("1:8:32", None, (1, 2, 3, 8, 32)),
        ("4:4:8", None, (4, 8)),
        ("2:2:2", 2, (2,)),
    ],
)
def test_a_text_and_its_sizes(text, fixed, proven):
    batch = Batch.parse(text)
    assert (batch.fixed, batch.proven) == (fixed, proven)


@pytest.mark.parametrize("text", ["1:1:2,4:8:8", ["1:1:2", "4:8:8"]])
def test_several_ranges(text):
    batch = Batch.parse(text)
    assert (batch.min, batch.opt, batch.max, batch.fixed) == (1, 1, 8, None)
    assert batch.proven == (1, 2, 4, 8)
    assert [batch.takes(size) for size in (1, 3, 4, 9)] == [True, False, True, False]
    assert [batch.nearest(size) for size in (1, 3, 6, 99)] == [1, 2, 6, 8]
    assert Batch.parse(str(batch)) == batch
    assert [str(one) for one in batch.profiles] == ["1:1:2", "4:8:8"]
    assert Batch.parse(["8"]) == Batch.parse("8")


def test_dynamic_stands_alone():
    with pytest.raises(RequestError, match="dynamic stands alone"):
        Batch.parse(["dynamic", "1"])


@pytest.mark.parametrize("text", ["", "0", "-1", "1:2", "8:4:16", "1:8:4", "two", "1.5", "01"])
def test_a_text_that_is_no_batch_is_refused(text):
    with pytest.raises(RequestError, match=r"batch"):
        Batch.parse(text)


@given(st.lists(st.integers(1, 999), min_size=3, max_size=3).map(sorted))
def test_the_text_comes_back_and_both_ends_are_proven(sizes):
    batch = Batch.parse(":".join(map(str, sizes)))
    assert Batch.parse(str(batch)) == batch
    assert {sizes[0], sizes[2]} <= set(batch.proven)
    assert all(sizes[0] <= size <= sizes[2] for size in batch.proven)
