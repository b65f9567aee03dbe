"""--precision auto: the fastest assignment of schemes to layers that keeps an accuracy budget.

A runtime times each layer in each scheme, and fake quantization measures what each layer alone
costs the answers. Both predict a frontier of assignments. The fastest of these that should keep the
budget is measured as a whole, then the next one, until one keeps it.
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
from vit_export.core.numerics import Array
from vit_export.core.packages import versions_of
from vit_export.core.progress import Progress, ReportShare
from vit_export.model.vit.lowering import LoweredVit
from vit_export.quantization.latency import LayerTimer, measure_layer_ms
from vit_export.quantization.layers import find_linear_layers
from vit_export.quantization.observer import LayerStats
from vit_export.quantization.pareto import Assignment, Costs, walk_frontier
from vit_export.quantization.plan import LayerPlan, QuantizationPlan, plan_layers
from vit_export.quantization.schemes import SCHEMES
from vit_export.quantization.sensitivity import (
    AccuracyTest,
    enlarge_quarters,
    measure_layer_noise,
)
from vit_export.quantization.smoothquant import smooth_channels

FIRST = "int8"
"""The scheme that channels and weights are prepared for; the others differ in activations only."""
SMALLEST = 1e-300

Plans = Mapping[str, QuantizationPlan]
"""A plan of all layers for each scheme, by scheme."""


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """What a search aims at, and the file that it is for."""

    request: QuantizationRequest
    flavour: str
    batch: Batch
    classifies: bool
    threads: int | None
    """Threads of the runtime that times layers; None: the runtime's own choice."""

    @classmethod
    def from_manifest(
        cls, request: QuantizationRequest, manifest: Manifest, threads: int | None
    ) -> Self:
        """The settings for the file that `manifest` describes."""
        return cls(
            request=request,
            flavour=str(manifest.settings.flavour),
            batch=manifest.batch,
            classifies=manifest.signature.classifies,
            threads=threads,
        )

    @property
    def schemes(self) -> tuple[str, ...]:
        """The schemes besides fp32; static ranges need images to calibrate on."""
        zero_point = "-zero-point" if self.flavour == "onnxruntime" else ""
        static = (f"int8-static{zero_point}",) if self.request.calibration else ()
        return (*static, "int8", "int8-token-zero-point")


def search(
    lowered: LoweredVit,
    settings: SearchSettings,
    stats: LayerStats,
    samples: Array,
    others: Sequence[Array],
    *,
    time_layers: LayerTimer,
    progress: Progress,
) -> tuple[QuantizationPlan, SearchResult]:
    """The plan that keeps the budget, and the search that found it.

    Args:
        lowered: the module; it changes in place to the same function that is easier to round.
        settings: budget, flavour and batch sizes.
        stats: statistics of the layers of `lowered`; they change with it.
        samples: the inputs of the proof, (M, C, H, W).
        others: further images (C, H, W), which are measured with their enlarged quarters.
        time_layers: times layers in the runtime that the file is for.
        progress: opened around every stage.

    Raises:
        BudgetError: no assignment with a quantized layer keeps the budget.
    """
    include = settings.request.include
    with progress("smooth channels"):
        smooth_channels(lowered, stats, dict.fromkeys(find_linear_layers(lowered, include), FIRST))
    layers = find_linear_layers(lowered, include)
    with progress("round weights") as report_share:
        plans = _plan_schemes(layers, stats, settings.schemes, report_share)
    ms = measure_layer_ms(
        layers,
        stats,
        time_layers,
        images=settings.batch.opt,
        schemes=settings.schemes,
        flavour=settings.flavour,
        threads=settings.threads,
        progress=progress,
    )
    extra = [*others, *enlarge_quarters(others)]
    batches = _list_batches(len(samples), len(extra), settings.batch)
    test = AccuracyTest.prepare(lowered, np.stack([*samples, *extra]), batches)
    with progress(f"measure {len(layers)} layers alone in {len(plans)} schemes") as report_share:
        hardest = test.select_hardest(plans[settings.schemes[-1]])
        noise = measure_layer_noise(hardest, list(plans.values()), report_share)
    noise |= {(name, FP32): 0.0 for name in layers}
    frontier = list(walk_frontier(ms, noise))
    with progress("measure mixed precisions"):
        best, points, factor = find_first_within(test, frontier, plans, settings)
    result = SearchResult(
        budget=settings.request.budget,
        choices=tuple(_describe(name, best, ms, noise) for name in best.schemes),
        tried=points,
        foreseen=tuple((one.ms, _to_db(factor * one.noise)) for one in frontier if one.noise),
        images=len(test.images),
        runtime=f"ONNX Runtime {versions_of(['onnxruntime'])['onnxruntime']}",
    )
    return _combine(best, plans), result


def _list_batches(samples: int, others: int, batch: Batch) -> list[list[int]]:
    """Positions of the images of each batch: those of the proof, then the other images."""
    orders = [(order_samples(range(samples), size, batch.proven), size) for size in batch.proven]
    orders.append((list(range(samples, samples + others)), LARGEST_PROVEN))
    return [o[start : start + size] for o, size in orders for start in range(0, len(o), size)]


def _plan_schemes(
    layers: Mapping[str, nn.Linear],
    stats: LayerStats,
    schemes: Sequence[str],
    report_share: ReportShare | None,
) -> dict[str, QuantizationPlan]:
    """A plan of all layers for each scheme; weights are rounded once, for inputs in `FIRST`."""
    first = plan_layers(layers, stats, dict.fromkeys(layers, FIRST), report_share)

    def change_scheme(name: str, layer: LayerPlan, scheme: str) -> LayerPlan:
        return replace(layer, scheme=scheme, params=SCHEMES[scheme].choose_params(stats[name]))

    return {
        scheme: QuantizationPlan(
            layers={name: change_scheme(name, layer, scheme) for name, layer in first.items()}
        )
        for scheme in schemes
    }


def _combine(assignment: Assignment, plans: Plans) -> QuantizationPlan:
    """The plan of an assignment, from the plans of its schemes."""
    quantized = {name: scheme for name, scheme in assignment.schemes.items() if scheme != FP32}
    return QuantizationPlan(layers={name: plans[s].layers[name] for name, s in quantized.items()})


def _describe(layer: str, best: Assignment, ms: Costs, noise: Costs) -> Choice:
    """The scheme of `layer` in the best assignment, with its cost and its gain."""
    scheme = best.schemes[layer]
    alone = noise[layer, scheme]
    others = best.noise - alone
    return Choice(
        layer=layer,
        scheme=scheme,
        alone_snr_db=None if scheme == FP32 else _to_db(alone),
        cost_db=10 * math.log10(best.noise / others) if others > 0 else math.inf,
        gain_ms=ms[layer, FP32] - ms[layer, scheme],
    )


def find_first_within(
    test: AccuracyTest, frontier: Sequence[Assignment], plans: Plans, settings: SearchSettings
) -> tuple[Assignment, tuple[Point, ...], float]:
    """The fastest assignment that keeps the budget when it is measured.

    Also every measured point, and the factor between measured and predicted noise.

    Raises:
        BudgetError: no assignment with a quantized layer keeps the budget.
    """
    budget, factor, points = settings.request.budget, 0.0, list[Point]()
    target = replace(budget, min_snr_db=budget.min_snr_db + MARGIN_DB)
    aim_db = target.min_snr_db
    candidates = [one for one in frontier if set(one.schemes.values()) != {FP32}]
    for candidate in candidates:
        if _to_db(factor * candidate.noise) < aim_db and candidate is not candidates[-1]:
            continue
        plan = _combine(candidate, plans)
        worst_db, same = test.measure_accuracy(plan)
        agreement = same if settings.classifies else None
        point = Point(
            ms=candidate.ms, worst_snr_db=worst_db, agreement=agreement, layers=len(plan.layers)
        )
        points.append(point)
        factor = 10 ** (-worst_db / 10) / candidate.noise if candidate.noise else 0.0
        if point.meets(target):
            return candidate, tuple(points), factor
        if worst_db >= aim_db:  # only top classes changed: aim higher
            aim_db = worst_db + MARGIN_DB
    nearest = max(points, key=lambda point: point.worst_snr_db, default=None)
    raise BudgetError(budget, nearest, tuple(points))


def _to_db(noise: float) -> float:
    return -10 * math.log10(max(noise, SMALLEST))
