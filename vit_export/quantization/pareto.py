"""Assignments of schemes to layers, from the fastest to the most exact: a greedy frontier.

Errors of different layers are nearly independent, so their powers add. The noise of each layer
alone therefore predicts the noise of an assignment, up to a factor that one measurement reveals.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

Costs = Mapping[tuple[str, str], float]
"""A number for each layer in each scheme, by (layer, scheme)."""


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """A scheme for every layer, with its predicted cost."""

    schemes: Mapping[str, str]
    """The scheme of each layer, by layer name."""
    ms: float
    """Sum of the layers' milliseconds."""
    noise: float
    """Sum of the layers' noise, each alone."""


def walk_frontier(ms: Costs, noise: Costs) -> Iterator[Assignment]:
    """Yield assignments, from the fastest scheme of every layer to the most exact.

    Each step changes the scheme of one layer: the change that removes the most noise per
    millisecond. A scheme that is both slower and noisier than another is never used.

    Args:
        ms: milliseconds of each layer in each scheme.
        noise: noise of each layer in each scheme; it has the keys of `ms`.
    """
    layers = dict.fromkeys(layer for layer, _ in ms)
    options = {layer: _list_efficient_schemes(layer, ms, noise) for layer in layers}
    chosen = {layer: schemes[0] for layer, schemes in options.items()}
    while True:
        yield _assign(chosen, ms, noise)
        steps = [
            (layer, scheme)
            for layer, schemes in options.items()
            for scheme in schemes[schemes.index(chosen[layer]) + 1 :]
        ]
        if not steps:
            return

        def measure_gain(step: tuple[str, str]) -> float:
            current = step[0], chosen[step[0]]
            added_ms = ms[step] - ms[current]
            return (noise[current] - noise[step]) / added_ms if added_ms > 0 else math.inf

        layer, scheme = max(steps, key=measure_gain)
        chosen[layer] = scheme


def _list_efficient_schemes(layer: str, ms: Costs, noise: Costs) -> list[str]:
    """The layer's schemes, each slower and more exact than the one before."""
    efficient: list[str] = []
    for scheme in sorted((s for name, s in ms if name == layer), key=lambda s: ms[layer, s]):
        if not efficient or noise[layer, scheme] < noise[layer, efficient[-1]]:
            efficient.append(scheme)
    return efficient


def _assign(schemes: Mapping[str, str], ms: Costs, noise: Costs) -> Assignment:
    return Assignment(
        schemes=dict(schemes),
        ms=math.fsum(ms[step] for step in schemes.items()),
        noise=math.fsum(noise[step] for step in schemes.items()),
    )
