"""From an eager model to what a target is given: lowered, with a manifest and a plan of bits."""

from collections.abc import Callable, Iterable
from dataclasses import KW_ONLY, asdict, dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vit_export.artifact.batch import Batch
from vit_export.artifact.budget import SearchResult
from vit_export.artifact.manifest import Manifest
from vit_export.artifact.precision import QuantizationRequest
from vit_export.artifact.records import BuildSettings, CalibrationInfo
from vit_export.artifact.reference import Reference
from vit_export.artifact.tolerance import Tolerance
from vit_export.backends.base import Backend, Job
from vit_export.backends.module_session import ModuleSession
from vit_export.core.errors import RequestError
from vit_export.core.numerics import Array
from vit_export.core.packages import versions_of
from vit_export.core.progress import Progress
from vit_export.data.dataset import ImageDataset
from vit_export.model.lower import lower
from vit_export.model.model import Model
from vit_export.validation.samples import digest
from vit_export.validation.tolerances import TOLERANCES, within_budget
from vit_export.validation.validate import Expectation, validate
from vit_export.validation.verdict import Origin, RejectedError

if TYPE_CHECKING:  # torch is heavy, and a bad request is refused without it
    from vit_export.data.calibration import CalibrationImages
    from vit_export.model.vit.lowering import LoweredVit
    from vit_export.quantization.observer import Images
    from vit_export.quantization.plan import Plan
    from vit_export.quantization.smoothquant import Seen

    Look = Callable[[Images], tuple[Seen, dict[str, int]]]


MOST_TRIED = 16
"""Of the images to calibrate on, that mixtures of precisions are tried on."""
STAGE_SAMPLES = [0, 3]
"""What a stage between model and file is tried on: two samples of different kinds, ..."""
STAGE_BATCH = Batch(1, 1, 2)
"""... alone and together. The saved file gets all samples and batch sizes."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """How each layer is quantized, and what the manifest says of it."""

    plan: "Plan"
    manifest: Manifest
    pictures: "CalibrationImages | None" = None
    """What was calibrated on, where the user gave it."""
    classes: frozenset[int] = frozenset()
    """What the model saw in that."""
    search: SearchResult | None = None
    """How precision auto was decided."""

    def notes(self, judged: ImageDataset | None) -> list[str]:
        """What the user should know of the calibration, beside the images that judge the file."""
        if self.pictures is None:
            return []
        told = self.pictures.notes()
        if len(self.classes) == 1 and self.manifest.signature.classifies:
            told.append("all images are of one class, by the model's own answers")
        both = _files(judged.paths if judged else ()) & _files(self.pictures.paths)
        if both:
            told.append(f"{len(both)} of its images judge the file too, which flatters it")
        return told


@dataclass(frozen=True)
class Work:
    """How a plan is made, whatever the model."""

    asked: QuantizationRequest
    _: KW_ONLY
    images: ImageDataset | None
    """That the file will be judged on."""
    threads: int | None
    """Of the runtime that layers are timed in."""
    progress: Progress


def planned(lowered: "LoweredVit", manifest: Manifest, samples: Array, work: Work) -> Planned:
    """The plan for `lowered`, which is changed in place where layers are quantized.

    Scales are found on `samples`, which the proof will ask, and on the images to calibrate on.

    Raises:
        RequestError: no images to calibrate on, too many unreadable ones, or one on which an
            activation is not finite; a part that is not there, weights that do not divide into
            blocks, or a share of top classes where there are none.
        BudgetError: nothing quantized keeps the budget of auto.
    """
    from vit_export.data.calibration import CalibrationImages
    from vit_export.quantization.layers import give_biases
    from vit_export.quantization.mixed_precision import Request, search
    from vit_export.quantization.observer import observe
    from vit_export.quantization.plan import Plan
    from vit_export.quantization.prepare import prepare

    asked, progress = work.asked, work.progress
    tolerance = _tolerance(asked)
    manifest = replace(manifest, precision=asked.precision, tolerance=tolerance)
    if asked.precision in {"fp32", "fp16", "bf16"}:
        return Planned(plan=Plan(), manifest=manifest)
    _check_possible(lowered, manifest, asked)
    give_biases(lowered, asked.include)
    named = list(zip(manifest.reference.recipes, samples, strict=False))
    pictures = None
    if asked.calibration is not None:
        pictures = CalibrationImages.find(asked.calibration, manifest.preprocessing, named)
    with progress(f"look at layers on {len(pictures or named)} images") as tell:
        look = partial(observe, lowered, include=asked.include, tell=tell)
        seen, tops = _seen(look, manifest, asked, pictures, named)
    found = None
    if asked.precision == "auto":
        extra = pictures.pick(MOST_TRIED) if pictures else []
        request = Request.of(asked, manifest, work.threads)
        plan, found = search(lowered, request, seen, (samples, extra), progress)
    else:
        plan = prepare(lowered, asked, str(manifest.settings.flavour), seen, progress)
    manifest = replace(manifest, layers=plan.schemes)
    if pictures is None:
        return Planned(plan=plan, manifest=manifest, search=found)
    count = len(pictures.paths) - len(pictures.unreadable)
    calibration = CalibrationInfo(images=count, sha256=pictures.digest)
    manifest = replace(manifest, calibration=calibration)
    classes = frozenset(top for name, top in tops.items() if name not in dict(named))
    return Planned(plan=plan, manifest=manifest, pictures=pictures, classes=classes, search=found)


def _check_possible(lowered: "LoweredVit", manifest: Manifest, asked: QuantizationRequest) -> None:
    """What only the model tells of a request, before any layer is looked at."""
    from vit_export.quantization.layers import check_parts
    from vit_export.quantization.prepare import check_blocks

    if asked.min_top1 is not None and not manifest.signature.classifies:
        message = "--min-top1 means nothing: the model has no classes."
        raise RequestError(message, "leave it out.")
    check_parts(lowered, asked.include)
    check_blocks(lowered, asked)


def _seen(
    look: "Look",
    manifest: Manifest,
    asked: QuantizationRequest,
    pictures: "CalibrationImages | None",
    samples: list[tuple[str, Array]],
) -> tuple["Seen", dict[str, int]]:
    """What layers see, and the class that each image is answered with; of a folder, from before."""
    from vit_export.quantization import calibration_cache as cache

    if pictures is None:
        return look(samples)
    depends = (
        manifest.weights_sha256,
        asdict(manifest.spec) if manifest.spec else None,
        manifest.versions,
        cache.LAYOUT,
    )
    key = sha256(repr((*depends, sorted(asked.include), pictures.digest)).encode()).hexdigest()
    known = cache.load(key)
    if known is not None:
        pictures.restore(known[1]["pictures"])
        return known[0], known[1]["tops"]
    seen, tops = look(pictures)
    cache.store(key, seen, {"pictures": pictures.findings(), "tops": tops})
    return seen, tops


def _tolerance(asked: QuantizationRequest) -> Tolerance:
    if asked.precision == "auto":
        return within_budget(asked.budget.min_snr_db)
    return TOLERANCES[asked.precision]


def _files(paths: Iterable[Path]) -> set[Path]:
    return {path.resolve() for path in paths}


def job_of(
    source: Model,
    manifest: Manifest,
    expected: tuple[Reference, Array],
    work: Work,
) -> tuple[Job, Origin]:
    """What the target makes a file of, and where it comes from."""
    reference, samples = expected
    with work.progress("lower"):
        unfold = "patches" in work.asked.include
        lowered = _lowered(source, reference, samples, unfold=unfold)
    ready = planned(lowered, manifest, samples, work)
    origin = Origin(
        weights_from=source.provenance.weights_from,
        random_weights=source.provenance.random_weights,
        unused=dict(source.provenance.unused),
        preprocessing=source.preprocessing_note,
        calibration="; ".join(ready.notes(work.images)),
        search=ready.search,
    )
    job = Job(
        lowered=lowered,
        manifest=ready.manifest,
        plan=ready.plan,
        samples=samples,
        io_fp16=work.asked.io_fp16,
    )
    return job, origin


def _lowered(source: Model, reference: Reference, samples: Array, *, unfold: bool) -> "LoweredVit":
    """The export-friendly module, seen to answer alike before anything is built from it."""
    lowered = lower(source, unfold=unfold)
    inputs = samples[STAGE_SAMPLES]  # what eager is given, whatever the file is fed
    expectation = Expectation(
        reference=replace(reference.only(STAGE_SAMPLES), digests=tuple(map(digest, inputs))),
        batch=STAGE_BATCH,
        precision="fp32",
        tolerance=TOLERANCES["fp32"],
        classifies=source.signature.classifies,
    )
    verdict = validate(ModuleSession(lowered), Path("the lowered module"), expectation, inputs)
    if not verdict.accepted:
        raise RejectedError(verdict, "report this with the model's spec: a rewrite is wrong.")
    return lowered


def manifest_of(
    target: Backend, source: Model, batch: Batch, settings: dict[str, Any], reference: Reference
) -> Manifest:
    """What the artifact will say of itself, before its precision is looked at."""
    from vit_export.model.vit.state import sha256_of

    return Manifest(
        target=target.name,
        model=source.name,
        signature=source.signature,
        spec=source.spec,
        overrides=source.provenance.overrides,
        precision="fp32",
        batch=batch,
        weights_sha256=sha256_of(source.vit),
        weights_from=source.provenance.weights_from,
        preprocessing=source.preprocessing,
        labels=source.labels,
        versions=versions_of(("vit-export", *target.packages, *target.one_of, "numpy", "pillow")),
        settings=BuildSettings(target.recorded_options(settings)),
        tolerance=TOLERANCES["fp32"],
        reference=reference.without_user_images(),
    )
