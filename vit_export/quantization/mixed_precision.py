"""--precision auto: which layers go to which precision, to keep a budget at the least latency.

Each layer is timed in the runtime, in each scheme, and its cost to the answers is played in
PyTorch, alone. From both the fastest mixture is foretold and tried as a whole, then the next that
is foretold to do, until one keeps the budget.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from torch import nn

from vit_export.artifact.batch import LARGEST_PROVEN, Batch, order_samples
from vit_export.artifact.budget import FP32, MARGIN_DB, BudgetError, Choice, Point, SearchResult
from vit_export.artifact.manifest import Manifest
from vit_export.artifact.precision import QuantizationRequest
from vit_export.bench.layer_timing import time_layers
from vit_export.core.numerics import Array
from vit_export.core.packages import versions_of
from vit_export.core.progress import Progress, Tell
from vit_export.model.vit.lowering import LoweredVit
from vit_export.quantization.layers import linear_layers
from vit_export.quantization.pareto import Costs, Mixture, mixtures
from vit_export.quantization.plan import LayerPlan, Plan
from vit_export.quantization.schemes import SCHEMES
from vit_export.quantization.sensitivity import Exam, closer_views, noises
from vit_export.quantization.smoothquant import Seen, equalize

FIRST = "int8"
"""What channels are equalized for; the schemes differ in what goes in alone."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is searched for."""

    asked: QuantizationRequest
    flavour: str
    batch: Batch
    classifies: bool
    threads: int | None

    @classmethod
    def of(cls, asked: QuantizationRequest, manifest: Manifest, threads: int | None) -> Self:
        """The search for what `manifest` will say."""
        return cls(
            asked=asked,
            flavour=str(manifest.settings.flavour),
            batch=manifest.batch,
            classifies=manifest.signature.classifies,
            threads=threads,
        )

    @property
    def schemes(self) -> tuple[str, ...]:
        """What layers can get besides fp32; static ranges are for those who bring images."""
        zero_point = "-zero-point" if self.flavour == "onnxruntime" else ""
        static = (f"int8-static{zero_point}",) if self.asked.calibration else ()
        return (*static, "int8", "int8-token-zero-point")


def search(
    lowered: LoweredVit,
    request: Request,
    seen: Seen,
    images: tuple[Array, Sequence[Array]],
    progress: Progress,
) -> tuple[Plan, SearchResult]:
    """The plan that keeps the budget on `images`, and how it was found.

    These are the samples (M, C, H, W) that the proof will ask, and others (C, H, W), which are
    looked at more closely too.

    `lowered`, whose layers have `seen` some, is changed in place: the same function, easier to
    round.

    Raises:
        BudgetError: nothing quantized keeps the budget.
    """
    include = request.asked.include
    with progress("equalize channels"):
        seen, _ = equalize(lowered, seen, dict.fromkeys(linear_layers(lowered, include), FIRST))
    layers = linear_layers(lowered, include)
    with progress("round weights") as tell:
        plans = _plans(layers, seen, request.schemes, tell)
    ms = _times(layers, seen, request, progress)
    samples, others = images[0], [*images[1], *closer_views(images[1])]
    batches = _batches(len(samples), len(others), request.batch)
    exam = Exam.of(lowered, np.stack([*samples, *others]), batches)
    with progress(f"try {len(plans[0].layers)} layers alone in {len(plans)} schemes") as tell:
        noise = noises(exam.hardest(plans[-1]), plans, tell)
    noise |= {(name, FP32): 0.0 for name in plans[0].layers}
    bill = _Bill(dict(zip(request.schemes, plans, strict=True)), ms, noise)
    with progress("try mixtures"):
        mixture, tried, factor = first_within(exam, bill, request)
    found = SearchResult(
        budget=request.asked.budget,
        choices=tuple(bill.choice(*one, mixture) for one in mixture.schemes.items()),
        tried=tried,
        foreseen=tuple((one.ms, _db(factor * one.noise)) for one in bill.line() if one.noise),
        images=len(exam.images),
        runtime=f"ONNX Runtime {versions_of(['onnxruntime'])['onnxruntime']}",
    )
    return bill.plan(mixture), found


def _batches(samples: int, others: int, batch: Batch) -> list[list[int]]:
    """The batches that the proof will run, and the other images in some."""
    orders = [(order_samples(range(samples), size, batch.proven), size) for size in batch.proven]
    orders.append((list(range(samples, samples + others)), LARGEST_PROVEN))
    return [o[start : start + size] for o, size in orders for start in range(0, len(o), size)]


def _plans(
    layers: Mapping[str, nn.Linear], seen: Seen, schemes: tuple[str, ...], tell: Tell | None
) -> list[Plan]:
    """All layers in each scheme. Weights are rounded once, for inputs as `FIRST` rounds them."""
    first = Plan.of(layers, seen, dict.fromkeys(layers, FIRST), tell)

    def turned(name: str, layer: LayerPlan, scheme: str) -> LayerPlan:
        return replace(layer, scheme=scheme, range=SCHEMES[scheme].range_of(seen[name]))

    return [
        Plan(layers={n: turned(n, layer, scheme) for n, layer in first.layers.items()})
        for scheme in schemes
    ]


def _times(
    layers: Mapping[str, nn.Linear], seen: Seen, request: Request, progress: Progress
) -> dict[tuple[str, str], float]:
    """Milliseconds by layer and scheme, of a batch of the usual size."""
    shapes = {
        name: (seen[name].rows_of_one * request.batch.usual, layer.in_features, layer.out_features)
        for name, layer in layers.items()
    }
    distinct = dict.fromkeys(shapes.values())
    with progress(f"time layers of {len(distinct)} shapes") as tell:
        by_shape = time_layers(distinct, request.schemes, request.flavour, request.threads, tell)
    schemes = (FP32, *request.schemes)
    return {
        (n, scheme): by_shape[shape, scheme] for n, shape in shapes.items() for scheme in schemes
    }


@dataclass(frozen=True, eq=False)
class _Bill:
    """What every layer costs in every scheme."""

    plans: Mapping[str, Plan]
    """All layers, by scheme."""
    ms: Costs
    noise: Costs

    def line(self) -> list[Mixture]:
        """Mixtures from the fastest to fp32."""
        return list(mixtures(self.ms, self.noise))

    def plan(self, mixture: Mixture) -> Plan:
        """The mixture as what a graph is written from."""
        reduced = {name: s for name, s in mixture.schemes.items() if s != FP32}
        return Plan(layers={name: self.plans[s].layers[name] for name, s in reduced.items()})

    def choice(self, layer: str, scheme: str, taken: Mixture) -> Choice:
        """What `layer` got in the mixture that was taken, for people."""
        alone = self.noise[layer, scheme]
        others = taken.noise - alone
        return Choice(
            layer=layer,
            scheme=scheme,
            alone_snr_db=None if scheme == FP32 else _db(alone),
            cost_db=10 * math.log10(taken.noise / others) if others > 0 else math.inf,
            gain_ms=self.ms[layer, FP32] - self.ms[layer, scheme],
        )


def first_within(
    exam: Exam, bill: _Bill, request: Request
) -> tuple[Mixture, tuple[Point, ...], float]:
    """The fastest mixture that keeps the budget when it is tried as a whole.

    And all that were tried, and by which factor more noise they had than was foretold.

    Raises:
        BudgetError: none does.
    """
    budget, factor, tried = request.asked.budget, 0.0, list[Point]()
    wanted = replace(budget, min_snr_db=budget.min_snr_db + MARGIN_DB)
    aim_db = wanted.min_snr_db
    line = [one for one in bill.line() if bill.plan(one).layers]
    for mixture in line:
        if _db(factor * mixture.noise) < aim_db and mixture is not line[-1]:
            continue
        point = _tried(exam, bill.plan(mixture), mixture, classifies=request.classifies)
        tried.append(point)
        factor = 10 ** (-point.worst_snr_db / 10) / mixture.noise if mixture.noise else 0.0
        if point.meets(wanted):
            return mixture, tuple(tried), factor
        if point.worst_snr_db >= aim_db:  # it's the classes that changed: the next one to try
            aim_db = point.worst_snr_db + MARGIN_DB
    nearest = max(tried, key=lambda one: one.worst_snr_db, default=None)
    raise BudgetError(budget, nearest, tuple(tried))


def _tried(exam: Exam, plan: Plan, mixture: Mixture, *, classifies: bool) -> Point:
    worst, same = exam.judge(plan)
    return Point(
        ms=mixture.ms,
        worst_snr_db=worst,
        agreement=same if classifies else None,
        layers=len(plan.layers),
    )


def _db(noise: float) -> float:
    return -10 * math.log10(max(noise, 1e-300))
