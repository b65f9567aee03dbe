"""Sweeps: tests with many cases. CI runs a fixed core and a slice that the commit chooses.

`@pytest.mark.sweep("name", core=("int8",))` makes a parametrized test part of the sweep `name`. A
case whose id holds one of the words in `core` runs always. `scripts/sweep name` runs all cases.
"""

import hashlib
import os
import subprocess
from collections.abc import Sequence
from functools import cache

import pytest
from support import ROOT

SLICES = 4
"""Consecutive commits run different quarters of a sweep."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--sweep", metavar="NAME", help="run every case of this sweep, and no others")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    name = config.getoption("--sweep")
    if not name and not os.environ.get("CI"):
        return  # whoever names a test wants to run it
    kept = [item for item in items if (is_in(item, name) if name else is_due(item, commit()))]
    if name and not kept:
        raise pytest.UsageError(f"there is no sweep {name!r}; known: {', '.join(names(items))}")
    config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
    items[:] = kept


def names(items: Sequence[pytest.Item]) -> list[str]:
    """The sweeps that these tests belong to."""
    marks = (item.get_closest_marker("sweep") for item in items)
    return sorted({mark.args[0] for mark in marks if mark is not None})


def is_in(item: pytest.Item, name: str) -> bool:
    """Whether a test belongs to the sweep `name`."""
    mark = item.get_closest_marker("sweep")
    return mark is not None and mark.args[0] == name


def is_due(item: pytest.Item, revision: str) -> bool:
    """Whether a test runs at this commit: no sweep, part of the core, or in the commit's slice."""
    mark = item.get_closest_marker("sweep")
    if mark is None or any(word in item.nodeid for word in mark.kwargs.get("core", ())):
        return True
    own = int(hashlib.sha256(item.nodeid.encode()).hexdigest(), 16)
    return own % SLICES == int(revision, 16) % SLICES


@cache
def commit() -> str:
    """The hash of the commit that is tested; 0 outside a checkout."""
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "0"
