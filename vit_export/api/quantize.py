"""The quantization stage: chooses each layer's precision, from activation statistics on images."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from vit_export.api.request import ExportRequest
from vit_export.api.stored_plan import read_schemes
from vit_export.artifact.budget import SearchResult
from vit_export.artifact.manifest import Manifest
from vit_export.artifact.precision import UNQUANTIZED, QuantizationRequest
from vit_export.artifact.records import CalibrationInfo
from vit_export.artifact.tolerance import Tolerance
from vit_export.core.errors import RequestError
from vit_export.core.numerics import Array
from vit_export.core.progress import Progress
from vit_export.data.dataset import ImageDataset
from vit_export.model.score_function import describe_answer
from vit_export.validation.tolerances import TOLERANCES, within_budget

if TYPE_CHECKING:  # torch is heavy, and a bad request is refused without it
    from vit_export.data.calibration import CalibrationImages
    from vit_export.model.layered import LayeredModule
    from vit_export.model.lower import Lowered
    from vit_export.quantization.observer import LayerStats, NamedImages
    from vit_export.quantization.plan import QuantizationPlan

    Observe = Callable[[NamedImages], tuple[LayerStats, dict[str, int]]]

MAX_TRIAL_IMAGES = 16
"""Most images of the calibration folder on which mixtures of precisions are tried."""


@dataclass(frozen=True, kw_only=True)
class QuantizationResult:
    """How each layer is quantized, and what the manifest says about it."""

    plan: "QuantizationPlan"
    manifest: Manifest
    images: "CalibrationImages | None" = None
    """The user's calibration images; None if only the samples of the proof were used."""
    classes: frozenset[int] = frozenset()
    """Top classes of the model on these images."""
    search: SearchResult | None = None
    """How the search for precision auto decided."""
    kept: Mapping[str, str] = field(default_factory=dict)
    """Layers that stay in fp32 because the scheme can't take them, each with the reason."""

    def notes(self, dataset: ImageDataset | None) -> list[str]:
        """Return notes for the user on the calibration, one sentence each.

        Args:
            dataset: the images that accuracy is measured on; images in both make it look better.
        """
        if self.images is None:
            return []
        notes = self.images.notes()
        if len(self.classes) == 1 and self.manifest.exclusive_classes:
            notes.append("all images are of one class, by the model's own answers")
        shared = _resolve(dataset.paths if dataset else ()) & _resolve(self.images.paths)
        if shared:
            notes.append(f"{len(shared)} of its images measure the accuracy too, which flatters it")
        return notes


def quantize(
    lowered: "Lowered",
    request: ExportRequest,
    manifest: Manifest,
    samples: Array,
    progress: Progress,
) -> QuantizationResult:
    """Return the plan for `lowered`, whose layers are changed in place where they are quantized.

    Ranges come from `samples` (M, C, H, W), which the proof runs too, and from the calibration
    images.

    Raises:
        TypeError: `expose_layers` did not run before.
        RequestError: there are no calibration images or too many unreadable ones, an activation is
            not finite, the model lacks a part, or weights do not divide into blocks.
        BudgetError: no quantized layer stays within the budget of auto.
    """
    from vit_export.model.layered import LayeredModule
    from vit_export.quantization.kept_layers import find_kept_layers
    from vit_export.quantization.plan import QuantizationPlan

    quantization, tolerance = request.quantization, _tolerance(request.quantization)
    manifest = replace(manifest, precision=quantization.precision, tolerance=tolerance)
    if quantization.precision in UNQUANTIZED:
        return QuantizationResult(plan=QuantizationPlan(), manifest=manifest)
    if not isinstance(lowered, LayeredModule):
        raise TypeError(f"{manifest.model} has no layers to quantize yet.")
    _check_possible(lowered, manifest, quantization)
    lowered.kept = find_kept_layers(lowered, quantization)
    result = _plan(lowered, request, manifest, samples, progress)
    return replace(result, kept=lowered.kept)


def _plan(
    lowered: "LayeredModule",
    request: ExportRequest,
    manifest: Manifest,
    samples: Array,
    progress: Progress,
) -> QuantizationResult:
    from vit_export.data.calibration import CalibrationImages
    from vit_export.quantization.layers import add_biases
    from vit_export.quantization.observer import collect_stats

    quantization = request.quantization
    add_biases(lowered, quantization.include)
    named_samples = list(zip(manifest.reference.recipes, samples, strict=False))
    images = None
    if quantization.calibration is not None:
        images = CalibrationImages.find(
            quantization.calibration, manifest.preprocessing, named_samples
        )
    with progress(f"observe layers on {len(images or named_samples)} images") as report_share:
        observe = partial(collect_stats, lowered, include=quantization.include)
        run = partial(observe, report_share=report_share, signature=manifest.signature)
        facts = manifest, lowered.sha256
        stats, top_classes = _observe(run, facts, quantization, images, named_samples)
    plan, result = _decide(lowered, request, manifest, stats, (samples, images), progress=progress)
    manifest = replace(manifest, layers=plan.schemes)
    if images is None:
        return QuantizationResult(plan=plan, manifest=manifest, search=result)
    count = len(images.paths) - len(images.unreadable)
    calibration = CalibrationInfo(images=count, sha256=images.digest)
    manifest = replace(manifest, calibration=calibration)
    samples_by_name = dict(named_samples)
    classes = frozenset(top for name, top in top_classes.items() if name not in samples_by_name)
    return QuantizationResult(
        plan=plan, manifest=manifest, images=images, classes=classes, search=result
    )


def _decide(
    lowered: "LayeredModule",
    request: ExportRequest,
    manifest: Manifest,
    stats: "LayerStats",
    images: "tuple[Array, CalibrationImages | None]",
    *,
    progress: Progress,
) -> tuple["QuantizationPlan", SearchResult | None]:
    """Return the plan of one precision, or the result of the search for auto."""
    from vit_export.bench.layer_timing import time_layers
    from vit_export.quantization.mixed_precision import search
    from vit_export.quantization.plan import make_plan
    from vit_export.quantization.repeat import repeat_plan
    from vit_export.quantization.search_settings import SearchSettings

    quantization, (samples, calibration) = request.quantization, images
    if quantization.precision == "auto" and quantization.plan is not None:
        schemes = read_schemes(quantization.plan, manifest)
        return repeat_plan(lowered, quantization, stats, schemes, progress), None
    if quantization.precision == "auto":
        extra = calibration.pick(MAX_TRIAL_IMAGES) if calibration else []
        settings = SearchSettings.from_manifest(quantization, manifest, request.threads)
        return search(
            lowered, settings, stats, samples, extra, time_layers=time_layers, progress=progress
        )
    return make_plan(lowered, quantization, str(manifest.settings.flavour), stats, progress), None


def _check_possible(
    lowered: "LayeredModule", manifest: Manifest, quantization: QuantizationRequest
) -> None:
    """Raise RequestError unless the model can be quantized as the request says."""
    from vit_export.quantization.layers import check_parts

    if quantization.min_top1 is not None and manifest.exclusive_classes is None:
        answer = f"answers {describe_answer(manifest.signature, manifest.problem_type)}"
        kind = answer if manifest.signature.classifies else "has no classes"
        message = f"--min-top1 means nothing: the model {kind}."
        raise RequestError(message, "leave it out.")
    check_parts(lowered, quantization.include)


def _observe(
    run: "Observe",
    facts: tuple[Manifest, str],
    quantization: QuantizationRequest,
    images: "CalibrationImages | None",
    samples: list[tuple[str, Array]],
) -> tuple["LayerStats", dict[str, int]]:
    """Return statistics of every layer, and the top class of each image: cached if not samples."""
    from vit_export.quantization import calibration_cache as cache

    if images is None:
        return run(samples)
    manifest, graph = facts
    spec = manifest.spec.to_mapping() if manifest.spec else None
    inputs = (manifest.weights_sha256, spec, graph, manifest.versions, cache.LAYOUT)
    key = sha256(repr((*inputs, sorted(quantization.include), images.digest)).encode()).hexdigest()
    entry = cache.load(key)
    if entry is not None:
        images.restore(entry[1]["pictures"])
        return entry[0], entry[1]["tops"]
    stats, top_classes = run(images)
    cache.store(key, stats, {"pictures": images.findings(), "tops": top_classes})
    return stats, top_classes


def _tolerance(quantization: QuantizationRequest) -> Tolerance:
    """Return what the manifest will claim."""
    if quantization.precision == "auto":
        return within_budget(quantization.budget.min_snr_db)
    return TOLERANCES[quantization.precision]


def _resolve(paths: Iterable[Path]) -> set[Path]:
    return {path.resolve() for path in paths}
