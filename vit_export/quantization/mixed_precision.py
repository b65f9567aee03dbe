"""--precision auto: the fastest assignment of schemes to layers that keeps an accuracy budget.

A runtime times each layer in each scheme, and fake quantization measures how much noise each layer
alone adds to the answers. Both predict a frontier of assignments. The fastest one that should keep
the budget is measured as a whole, then the next one, until one keeps it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from torch import nn

from vit_export.artifact.batch import MAX_PROVEN_BATCH, Batch, order_samples
from vit_export.artifact.budget import FP32, MARGIN_DB, BudgetError, Choice, Point, SearchResult
from vit_export.artifact.precision import QuantizationRequest
from vit_export.core.numerics import Array
from vit_export.core.packages import find_versions
from vit_export.core.progress import Progress, ReportShare
from vit_export.model.layered import LayeredModule
from vit_export.quantization.latency import LayerTimer, measure_layer_ms
from vit_export.quantization.layers import find_linear_layers
from vit_export.quantization.observer import LayerStats
from vit_export.quantization.pareto import Assignment, Costs, walk_frontier
from vit_export.quantization.plan import LayerPlan, QuantizationPlan, plan_layers
from vit_export.quantization.schemes import SCHEMES
from vit_export.quantization.search_settings import SearchSettings
from vit_export.quantization.sensitivity import (
    AccuracyTest,
    enlarge_quarters,
    measure_layer_noise,
)
from vit_export.quantization.smoothquant import smooth_channels

ROUNDING_SCHEME = "int8"
"""The scheme that weights are rounded for; the others of a search differ in activations only."""
SMALLEST = 1e-300

Plans = Mapping[str, QuantizationPlan]
"""A plan of all layers for each scheme, by scheme."""


def search(
    lowered: LayeredModule,
    settings: SearchSettings,
    stats: LayerStats,
    samples: Array,
    others: Sequence[Array],
    *,
    time_layers: LayerTimer,
    progress: Progress,
) -> tuple[QuantizationPlan, SearchResult]:
    """The fastest plan that keeps the budget, and the record of its search.

    Args:
        lowered: the module; smoothing changes its weights in place, but not its function.
        settings: budget, flavour and batch sizes.
        stats: statistics of the layers of `lowered`; they change with it.
        samples: the inputs of the proof, (M, C, H, W).
        others: further images (C, H, W), which are measured with their enlarged quarters.
        time_layers: times layers in the runtime that the file is for.
        progress: shows every stage.

    Raises:
        BudgetError: no assignment with a quantized layer keeps the budget.
    """
    layers = smooth(lowered, settings.request, stats, progress)
    with progress("round weights") as report_share:
        plans = plan_schemes(layers, stats, settings.schemes, report_share)
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
    test = AccuracyTest.prepare(
        lowered, np.stack([*samples, *extra]), batches, signals=settings.signals
    )
    with progress(f"measure {len(layers)} layers alone in {len(plans)} schemes") as report_share:
        hardest = test.select_hardest(plans[settings.schemes[-1]])
        noise = measure_layer_noise(hardest, list(plans.values()), report_share)
    noise |= {(name, FP32): 0.0 for name in layers}
    frontier = list(walk_frontier(ms, noise))
    with progress("measure mixed precisions"):
        best, points, factor = find_first_within_budget(test, frontier, plans, settings)
    result = SearchResult(
        budget=settings.request.budget,
        choices=tuple(_describe(name, best, ms, noise) for name in best.schemes),
        tried=points,
        foreseen=tuple((one.ms, _to_db(factor * one.noise)) for one in frontier if one.noise),
        images=len(test.images),
        runtime=f"ONNX Runtime {find_versions(['onnxruntime'])['onnxruntime']}",
    )
    return combine(best, plans), result


def smooth(
    lowered: LayeredModule, request: QuantizationRequest, stats: LayerStats, progress: Progress
) -> dict[str, nn.Linear]:
    """Make channels easier to round, in place; return the layers, by name."""
    with progress("smooth channels"):
        names = find_linear_layers(lowered, request.include)
        smooth_channels(lowered, stats, dict.fromkeys(names, ROUNDING_SCHEME))
    return find_linear_layers(lowered, request.include)


def _list_batches(samples: int, others: int, batch: Batch) -> list[list[int]]:
    """Positions of the images in each batch: the batches of the proof, then the other images."""
    orders = [(order_samples(range(samples), size, batch.proven), size) for size in batch.proven]
    orders.append((list(range(samples, samples + others)), MAX_PROVEN_BATCH))
    return [o[start : start + size] for o, size in orders for start in range(0, len(o), size)]


def plan_schemes(
    layers: Mapping[str, nn.Linear],
    stats: LayerStats,
    schemes: Sequence[str],
    report_share: ReportShare | None,
) -> dict[str, QuantizationPlan]:
    """A plan of all layers for each scheme; weights are rounded once, for `ROUNDING_SCHEME`."""
    common = plan_layers(layers, stats, dict.fromkeys(layers, ROUNDING_SCHEME), report_share)

    def change_scheme(name: str, layer: LayerPlan, scheme: str) -> LayerPlan:
        return replace(layer, scheme=scheme, params=SCHEMES[scheme].choose_params(stats[name]))

    return {
        scheme: QuantizationPlan(
            layers={name: change_scheme(name, layer, scheme) for name, layer in common.items()}
        )
        for scheme in schemes
    }


def combine(assignment: Assignment, plans: Plans) -> QuantizationPlan:
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


def find_first_within_budget(
    test: AccuracyTest, frontier: Sequence[Assignment], plans: Plans, settings: SearchSettings
) -> tuple[Assignment, tuple[Point, ...], float]:
    """The fastest assignment that keeps the budget when it is measured.

    The other results are all measured points, and the ratio of measured to predicted noise.

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
        plan = combine(candidate, plans)
        worst_db, same = test.measure_accuracy(plan)
        agreement = same if settings.classifies else None
        point = Point(
            ms=candidate.ms, worst_snr_db=worst_db, agreement=agreement, layers=len(plan.layers)
        )
        points.append(point)
        factor = 10 ** (-worst_db / 10) / candidate.noise if candidate.noise else 0.0
        if point.meets(target):
            return candidate, tuple(points), factor
        if worst_db >= aim_db:  # only top classes changed, which a higher SNR keeps
            aim_db = worst_db + MARGIN_DB
    nearest = max(points, key=lambda point: point.worst_snr_db, default=None)
    raise BudgetError(budget, nearest, tuple(points))


def _to_db(noise: float) -> float:
    return -10 * math.log10(max(noise, SMALLEST))
