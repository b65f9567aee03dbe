"""From an eager model to what a target is given: lowered, with a manifest and a plan of bits."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vit_export.batch import Batch
from vit_export.compare import TOLERANCES
from vit_export.image_set import ImageSet
from vit_export.manifest import Array, Manifest, Reference
from vit_export.precision import Asked
from vit_export.progress import Progress
from vit_export.proof import prove
from vit_export.runtimes.module import ModuleSession
from vit_export.source import Source
from vit_export.targets.base import Job, Target
from vit_export.verdict import Origin, RejectedError
from vit_export.versions import versions_of

if TYPE_CHECKING:  # torch is heavy, and a bad request is refused without it
    from vit_export.quantize.images import Pictures
    from vit_export.quantize.plan import Plan
    from vit_export.vit.lower import LoweredVit


STAGE_SAMPLES = [0, 3]
"""What a stage between model and file is tried on: two samples of different kinds, ..."""
STAGE_BATCH = Batch(1, 1, 2)
"""... alone and together. The saved file gets all samples and batch sizes."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """How each layer is quantized, and what the manifest says of it."""

    plan: "Plan"
    manifest: Manifest
    pictures: "Pictures | None" = None
    """What was calibrated on, where the user gave it."""
    classes: frozenset[int] = frozenset()
    """What the model saw in that."""

    def notes(self, judged: ImageSet | None) -> list[str]:
        """What the user should know of the calibration, beside the images that judge the file."""
        if self.pictures is None:
            return []
        told = self.pictures.notes()
        if len(self.classes) == 1 and self.manifest.spec.classifies:
            told.append("all images are of one class, by the model's own answers")
        both = _files(judged.paths if judged else ()) & _files(self.pictures.paths)
        if both:
            told.append(f"{len(both)} of its images judge the file too, which flatters it")
        return told


def planned(
    lowered: "LoweredVit", manifest: Manifest, asked: Asked, samples: Array, progress: Progress
) -> Planned:
    """The plan for `lowered`, which is changed in place where layers are quantized.

    Scales are found on `samples`, photographs and noise, and on the images of the request.

    Raises:
        RequestError: no images to calibrate on, too many unreadable ones, or one on which an
            activation is not finite.
    """
    from vit_export.quantize.images import Pictures
    from vit_export.quantize.plan import Plan
    from vit_export.quantize.prepare import prepare

    tolerance = asdict(TOLERANCES[asked.precision])
    manifest = replace(manifest, precision=asked.precision, tolerance=tolerance)
    if asked.precision in {"fp32", "fp16", "bf16"}:
        return Planned(plan=Plan(), manifest=manifest)
    flavour = str(manifest.settings["flavour"])
    named = list(zip(manifest.reference.recipes, samples, strict=False))
    if asked.calibration is None:
        plan, _ = prepare(lowered, asked, flavour, named, progress)
        return Planned(plan=plan, manifest=replace(manifest, layers=plan.schemes))
    pictures = Pictures.of(asked.calibration, manifest.preprocessing, named)
    plan, classes = prepare(lowered, asked, flavour, pictures, progress)
    read = {"images": len(pictures.paths) - len(pictures.unreadable)}
    told = read | {"sha256": pictures.sha256.hexdigest()}
    manifest = replace(manifest, layers=plan.schemes, calibration=told)
    seen = frozenset(one for name, one in classes.items() if name not in dict(named))
    return Planned(plan=plan, manifest=manifest, pictures=pictures, classes=seen)


def _files(paths: Iterable[Path]) -> set[Path]:
    return {path.resolve() for path in paths}


def job_of(
    source: Source,
    manifest: Manifest,
    expected: tuple[Reference, Array],
    asked: Asked,
    *,
    images: ImageSet | None,
    progress: Progress,
) -> tuple[Job, Origin]:
    """What the target makes a file of, and where it comes from."""
    reference, samples = expected
    with progress("lower"):
        lowered = _lowered(source, reference, samples)
    ready = planned(lowered, manifest, asked, samples, progress)
    origin = Origin(
        weights_from=source.weights_from,
        random_weights=source.random,
        unused=dict(source.unused),
        preprocessing=source.preprocessing_note,
        calibration="; ".join(ready.notes(images)),
    )
    job = Job(
        lowered=lowered,
        manifest=ready.manifest,
        plan=ready.plan,
        samples=samples,
        io_fp16=asked.io_fp16,
    )
    return job, origin


def _lowered(source: Source, reference: Reference, samples: Array) -> "LoweredVit":
    """The export-friendly module, seen to answer alike before anything is built from it."""
    from vit_export.vit.lower import lower

    lowered = lower(source.vit)
    verdict = prove(
        ModuleSession(lowered),
        Path("the lowered module"),
        reference.only(STAGE_SAMPLES),
        samples[STAGE_SAMPLES],
        batch=STAGE_BATCH,
        precision="fp32",
        tolerance=TOLERANCES["fp32"],
        classifies=source.vit.spec.classifies,
    )
    if not verdict.accepted:
        raise RejectedError(verdict, "report this with the model's spec: a rewrite is wrong.")
    return lowered


def manifest_of(
    target: Target, source: Source, batch: Batch, settings: dict[str, Any], reference: Reference
) -> Manifest:
    """What the artifact will say of itself, before its precision is looked at."""
    from vit_export.vit.weights import sha256_of

    return Manifest(
        target=target.name,
        model=source.name,
        spec=source.vit.spec,
        overrides=source.overrides,
        precision="fp32",
        batch=batch,
        weights_sha256=sha256_of(source.vit),
        weights_from=source.weights_from,
        preprocessing=source.preprocessing,
        labels=source.labels,
        versions=versions_of(("vit-export", *target.packages, *target.one_of, "numpy", "pillow")),
        settings=target.recorded(settings),
        tolerance=asdict(TOLERANCES["fp32"]),
        reference=reference.made_anywhere(),
    )
