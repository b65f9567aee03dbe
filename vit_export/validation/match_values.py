"""Which value of a file's graph is the output of a module: the one with the same numbers.

The graph of any module has other values than its code computes: passes join layers, drop tokens
that nothing reads, and move factors into weights. Names are no guide then, and numbers are.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vit_export.backends.session import Values
from vit_export.core.numerics import Array

AT_ONCE = 64
"""Number of values that are kept at a time: those of a large model do not fit into memory."""
NEAR = 1e-3
"""Most that a value differs from a module's output, as a share of the output's largest number."""


@dataclass(frozen=True)
class Match:
    """A value of a graph that is the output of a module."""

    value: str
    rows: int
    """Number of rows that the graph computes of the output; they are its first ones."""


def match_values(outputs: Mapping[str, Array], graph: Values, sample: Array) -> dict[str, Match]:
    """Return the value of each output that has one, by name, in the order of `outputs`.

    Args:
        outputs: what modules answer to `sample`, (rows, D) each.
        graph: the file.
        sample: one input of both.
    """
    found: dict[str, Match] = {}
    for start in range(0, len(graph.names), AT_ONCE):
        values = graph.run(sample, graph.names[start : start + AT_ONCE])
        for name, output in outputs.items():
            match = found.get(name)
            if match is None or match.rows < len(output):
                better = _find_value(output, values, match)
                found |= {name: better} if better else {}
    return {name: found[name] for name in outputs if name in found}


def _find_value(output: Array, values: Mapping[str, Array], match: Match | None) -> Match | None:
    """Return the first value with the numbers of an output, or with more of its rows."""
    if not _is_telling(output):
        return None
    columns, most = output.shape[-1], 0 if match is None else match.rows
    best = None
    for name, value in values.items():
        rows = value.size // columns
        fits = value.size == output.size or value.shape[-1:] == (columns,)
        if fits and most < rows <= len(output) and _are_near(value.reshape(-1, columns), output):
            best, most = Match(name, rows), rows
    return best


def _is_telling(output: Array) -> bool:
    """Return whether the numbers of an output differ, so that no other value has them."""
    return bool(np.isfinite(output).all()) and output.size > 1 and bool(np.ptp(output) > 0)


def _are_near(value: Array, output: Array) -> bool:
    first = output[: len(value)]
    return bool(np.abs(value - first).max(initial=0.0) <= NEAR * np.abs(output).max())
