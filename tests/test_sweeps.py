"""Every case of a sweep runs at some commit, and its core runs at all of them."""

import hashlib
from types import SimpleNamespace

import pytest
from sweeps import SLICES, is_due, is_in, names

COMMITS = [hashlib.sha1(str(number).encode()).hexdigest() for number in range(64)]  # noqa: S324 as git


def item(nodeid, *args, **kwargs):
    mark = SimpleNamespace(args=args, kwargs=kwargs) if args else None
    return SimpleNamespace(nodeid=nodeid, get_closest_marker=lambda _: mark)


def cases(**kwargs):
    return [item(f"test_x[{number}]", "numbers", **kwargs) for number in range(40)]


def test_other_tests_run_at_every_commit():
    assert all(is_due(item("test_x"), commit) for commit in COMMITS)


def test_a_core_runs_at_every_commit():
    assert all(is_due(cases(core=("[7]",))[7], commit) for commit in COMMITS)


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.nodeid)
def test_every_case_has_its_turn_and_not_always(case):
    turns = sum(is_due(case, commit) for commit in COMMITS)
    assert 0 < turns < len(COMMITS)


def test_a_commit_runs_about_its_share():
    due = [sum(is_due(case, commit) for case in cases()) for commit in COMMITS]
    assert max(due) < 40
    assert sum(due) / len(due) == pytest.approx(40 / SLICES, rel=0.3)


def test_a_sweep_is_found_by_its_name():
    tests = [item("test_x"), item("test_y", "letters"), *cases()]
    assert names(tests) == ["letters", "numbers"]
    assert [is_in(one, "letters") for one in tests[:3]] == [False, True, False]
