"""The accuracy budget of --precision auto, and the result of its search."""

import math
from dataclasses import asdict, dataclass

from vit_export.core.errors import ProofError, RequestError

FP32 = "fp32"
MIN_SNR_DB = 15.0
"""Smallest budget: that of a file whose layers all are in int8 (`validation/tolerances.py`)."""
MARGIN_DB = 1.0
"""Margin in decibels by which fake quantization has to exceed the budget.

A runtime adds in another order, so that a few numbers are rounded differently."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The accuracy that a file of `--precision auto` has to keep."""

    min_snr_db: float = 25.0
    """Minimum signal-to-noise ratio of every sample and of every image the file is judged on."""
    min_top1: float = 0.99
    """Minimum share of images whose top class stays, 0 to 1."""

    def __post_init__(self) -> None:
        for name, value in (("min-snr", self.min_snr_db), ("min-top1", self.min_top1)):
            if not isinstance(value, int | float):
                raise RequestError(f"--{name} is {value!r}.", "give a number.")
        if not 0 < self.min_snr_db < float("inf"):
            raise RequestError(
                f"--min-snr is {self.min_snr_db} dB.", "take 15 to 60, for example 25."
            )
        if self.min_snr_db < MIN_SNR_DB:
            message = f"--min-snr {self.min_snr_db:g} is below {MIN_SNR_DB:g} dB, "
            raise RequestError(
                f"{message}the least that is proven.", f"take {MIN_SNR_DB:g} or more."
            )
        if not 0 <= self.min_top1 <= 1:
            raise RequestError(f"--min-top1 is {self.min_top1}.", "give a share, such as 0.99.")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The scheme of one layer, with what it costs in accuracy and saves in time."""

    layer: str
    scheme: str
    """A name in `quantization.schemes.SCHEMES`, or fp32."""
    alone_snr_db: float | None
    """Signal-to-noise ratio of the answers with only this layer quantized; None in fp32."""
    cost_db: float
    """Decibels that the answers would gain with this layer in fp32."""
    gain_ms: float
    """Milliseconds saved per batch, against fp32."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """Latency and accuracy of one assignment of schemes, measured with all layers at once."""

    ms: float
    """Milliseconds of all linear layers that may be quantized, summed."""
    worst_snr_db: float
    """Signal-to-noise ratio of the worst image."""
    agreement: float | None
    """Share of images whose top class stays; None if the model does not classify."""
    layers: int
    """Number of quantized layers."""

    def meets(self, budget: Budget) -> bool:
        """Whether signal-to-noise ratio and agreement keep `budget`."""
        same = self.agreement is None or self.agreement >= budget.min_top1
        return self.worst_snr_db >= budget.min_snr_db and same


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """The chosen schemes, and the steps of the search for them. Field names are keys of --json."""

    budget: Budget
    choices: tuple[Choice, ...]
    tried: tuple[Point, ...]
    """Measured assignments, the fastest first; the last one is the result."""
    foreseen: tuple[tuple[float, float], ...]
    """Estimated (milliseconds, dB) of every step from the fastest assignment to fp32, which is
    not among them."""
    images: int
    """Number of images that assignments are measured on."""
    runtime: str
    """Name and version of the runtime that layers are timed in."""


class BudgetError(ProofError):
    """No assignment with a quantized layer meets the budget; `nearest` has the most decibels."""

    def __init__(self, budget: Budget, nearest: Point | None, tried: tuple[Point, ...]) -> None:
        limits = f"{budget.min_snr_db:g} dB"
        if nearest is None or nearest.agreement is not None:
            limits += f" and {budget.min_top1:.2%} of top classes"
        if nearest is None:
            reason, fix = "no layer is faster in fewer bits here", "keep fp32."
        else:
            same = "" if nearest.agreement is None else f", {nearest.agreement:.2%} of top classes"
            reason = f"the nearest has {nearest.worst_snr_db:.1f} dB{same}"
            reason += f" with {nearest.layers} layers quantized"
            options = _lower_options(budget, nearest)
            fix = f"ask for less: {options}; or keep fp32." if options else "keep fp32."
        super().__init__(f"No mixture of precisions keeps {limits}: {reason}.", fix)
        self.details = {"nearest": nearest and asdict(nearest), "tried": [asdict(p) for p in tried]}


def _lower_options(budget: Budget, nearest: Point) -> str:
    """The options that `nearest` misses, with values that it meets; empty if none is allowed."""
    options = []
    if nearest.worst_snr_db < budget.min_snr_db + MARGIN_DB:
        least = int(nearest.worst_snr_db - 2 * MARGIN_DB)
        if least < MIN_SNR_DB:
            return ""
        options.append(f"--min-snr {least}")
    if nearest.agreement is not None and nearest.agreement < budget.min_top1:
        options.append(f"--min-top1 {math.floor(100 * nearest.agreement) / 100}")
    return " ".join(options)
