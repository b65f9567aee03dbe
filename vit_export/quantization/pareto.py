"""The fastest mixture of precisions within a noise: greedy, from the fastest to the most exact.

Errors of different layers are nearly independent, so that their powers add. What layers cost alone
therefore foretells what a mixture costs, up to a factor that trying the mixture reveals.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

Scheme = str
Costs = Mapping[tuple[str, Scheme], float]
"""By layer and scheme."""


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """A scheme for every layer, with what that is foretold to cost."""

    schemes: Mapping[str, Scheme]
    ms: float
    noise: float
    """The sum of what the layers cost alone."""


def mixtures(ms: Costs, noise: Costs) -> Iterator[Mixture]:
    """From the fastest scheme for each layer to the most exact, one layer a step.

    Both know every layer in the same schemes. Of all steps the one comes next that takes the most
    noise away for a millisecond. Nothing is taken that is slower and noisier than something else.
    """
    options: dict[str, list[Scheme]] = {}
    for layer in dict.fromkeys(layer for layer, _ in ms):
        options[layer] = _worth(layer, ms, noise)
    chosen = {layer: found[0] for layer, found in options.items()}
    while True:
        yield _mixture(chosen, ms, noise)
        steps = [
            (layer, scheme)
            for layer, found in options.items()
            for scheme in found[found.index(chosen[layer]) + 1 :]
        ]
        if not steps:
            return

        def worth(step: tuple[str, Scheme]) -> float:
            now = step[0], chosen[step[0]]
            slower = ms[step] - ms[now]
            return (noise[now] - noise[step]) / slower if slower > 0 else math.inf

        layer, scheme = max(steps, key=worth)
        chosen[layer] = scheme


def _worth(layer: str, ms: Costs, noise: Costs) -> list[Scheme]:
    """The layer's schemes, each slower and more exact than the one before."""
    found: list[Scheme] = []
    for scheme in sorted((s for name, s in ms if name == layer), key=lambda s: ms[layer, s]):
        if not found or noise[layer, scheme] < noise[layer, found[-1]]:
            found.append(scheme)
    return found


def _mixture(chosen: Mapping[str, Scheme], ms: Costs, noise: Costs) -> Mixture:
    return Mixture(
        schemes=dict(chosen),
        ms=math.fsum(ms[step] for step in chosen.items()),
        noise=math.fsum(noise[step] for step in chosen.items()),
    )
