"""Which batch sizes a text means, and which are proven."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vit_export import RequestError
from vit_export.batch import Batch


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
def test_batches(text, fixed, proven):
    batch = Batch.parse(text)
    assert (batch.fixed, batch.proven) == (fixed, proven)


@pytest.mark.parametrize("text", ["", "0", "-1", "1:2", "8:4:16", "1:8:4", "two", "1.5", "01"])
def test_nonsense_is_refused(text):
    with pytest.raises(RequestError, match=r"batch"):
        Batch.parse(text)


@given(st.lists(st.integers(1, 999), min_size=3, max_size=3).map(sorted))
def test_text_comes_back_and_ends_are_proven(sizes):
    batch = Batch.parse(":".join(map(str, sizes)))
    assert Batch.parse(str(batch)) == batch
    assert {sizes[0], sizes[2]} <= set(batch.proven)
    assert all(sizes[0] <= size <= sizes[2] for size in batch.proven)
