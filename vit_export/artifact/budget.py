"""What a mixture of precisions may cost, and what a search for one found: numbers, no arrays."""

import math
from dataclasses import asdict, dataclass

from vit_export.core.errors import ProofError, RequestError

FP32 = "fp32"
MARGIN_DB = 1.0
"""That a mixture has to keep more than was asked when it is played: in the runtime other sums fall
on the edge between two steps."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The least that a file of `--precision auto` has to keep."""

    min_snr_db: float = 35.0
    """Of every single sample, and of every image that the user judges on."""
    min_top1: float = 0.99
    """Share of images whose top class stays."""

    def __post_init__(self) -> None:
        for name, value in (("min-snr", self.min_snr_db), ("min-top1", self.min_top1)):
            if not isinstance(value, int | float):
                raise RequestError(f"--{name} is {value!r}.", "give a number.")
        if not 0 < self.min_snr_db < float("inf"):
            raise RequestError(f"--min-snr is {self.min_snr_db} dB.", "take 20 to 60, 35 for one.")
        if not 0 <= self.min_top1 <= 1:
            raise RequestError(f"--min-top1 is {self.min_top1}.", "give a share, 0.99 for one.")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What one layer got."""

    layer: str
    scheme: str
    """A name in `quantize.schemes.SCHEMES`, or fp32."""
    alone_snr_db: float | None
    """Of the answers when this layer alone is quantized so; None in fp32."""
    cost_db: float
    """What the answers would win, were this layer alone in fp32."""
    gain_ms: float
    """What it saves of a batch's time, against fp32."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One mixture, tried as a whole."""

    ms: float
    """Of all linear layers together that could be quantized."""
    worst_snr_db: float
    agreement: float | None
    """Share of images whose top class stays; None where the model does not classify."""
    layers: int
    """How many are quantized."""

    def meets(self, budget: Budget) -> bool:
        """Whether it keeps what was asked."""
        same = self.agreement is None or self.agreement >= budget.min_top1
        return self.worst_snr_db >= budget.min_snr_db and same


@dataclass(frozen=True, kw_only=True)
class Search:
    """How a mixture was found."""

    budget: Budget
    choices: tuple[Choice, ...]
    tried: tuple[Point, ...]
    """In their order, the fastest first; the last is the one that was taken."""
    foreseen: tuple[tuple[float, float], ...]
    """Milliseconds and dB of every step from the fastest mixture to the last before fp32."""
    images: int
    """That mixtures were tried on."""
    runtime: str
    """That layers were timed in."""


class BudgetError(ProofError):
    """Nothing quantized meets the budget; `nearest` has the most decibels."""

    def __init__(self, budget: Budget, nearest: Point | None, tried: tuple[Point, ...]) -> None:
        asked = f"{budget.min_snr_db:g} dB"
        if nearest is None or nearest.agreement is not None:
            asked += f" and {budget.min_top1:.2%} of top classes"
        if nearest is None:
            told, fix = "no layer is faster in fewer bits here", "keep fp32."
        else:
            same = "" if nearest.agreement is None else f", {nearest.agreement:.2%} of top classes"
            told = f"the nearest has {nearest.worst_snr_db:.1f} dB{same}"
            told += f" with {nearest.layers} layers quantized"
            fix = f"ask for less, as {_less(budget, nearest)}, or keep fp32."
        super().__init__(f"No mixture of precisions keeps {asked}: {told}.", fix)
        self.details = {"nearest": nearest and asdict(nearest), "tried": [asdict(p) for p in tried]}


def _less(budget: Budget, nearest: Point) -> str:
    """The options to lower for `nearest` to be taken: those that it falls short of."""
    less = []
    if nearest.worst_snr_db < budget.min_snr_db + MARGIN_DB:
        less.append(f"--min-snr {max(nearest.worst_snr_db - 2, 1):.0f}")
    if nearest.agreement is not None and nearest.agreement < budget.min_top1:
        less.append(f"--min-top1 {math.floor(100 * nearest.agreement) / 100}")
    return " ".join(less)
