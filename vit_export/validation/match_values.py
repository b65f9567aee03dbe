"""Which value of a file's graph is the output of a module: the one with the same numbers.

The graph of any module has other values than its code computes: passes join layers, drop tokens
that nothing reads, and move factors into weights. Names are no guide then, and numbers are.
"""

from collections.abc import Iterator, Mapping
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
    error: float = 0.0
    """Largest difference from the output."""

    def is_better(self, other: "Match | None") -> bool:
        """Return whether it has more rows of the output, or the same with nearer numbers."""
        return other is None or (-self.rows, self.error) < (-other.rows, other.error)


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
            for match in _list_matches(output, values):
                if match.is_better(found.get(name)):
                    found[name] = match
    return {name: found[name] for name in outputs if name in found}


def _list_matches(output: Array, values: Mapping[str, Array]) -> Iterator[Match]:
    """Yield the values that have the numbers of an output, or of its first rows."""
    if not _is_telling(output):
        return
    columns, allowed = output.shape[-1], NEAR * float(np.abs(output).max())
    for name, value in values.items():
        rows = value.size // columns
        fits = value.size == output.size or value.shape[-1:] == (columns,)
        if fits and 0 < rows <= len(output):
            difference = np.abs(value.reshape(-1, columns) - output[:rows])
            error = float(difference.max(initial=0.0))
            if error <= allowed:
                yield Match(name, rows, error)


def _is_telling(output: Array) -> bool:
    """Return whether the numbers of an output differ, so that no other value has them."""
    return bool(np.isfinite(output).all()) and output.size > 1 and bool(np.ptp(output) > 0)
