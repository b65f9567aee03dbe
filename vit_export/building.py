"""The way from a model to a proven file: every stage, in its order, and nothing else."""

import gc
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vit_export.batch import Batch
from vit_export.compare import TOLERANCES
from vit_export.errors import RequestError
from vit_export.loading import load_source
from vit_export.manifest import Array, Manifest, Reference
from vit_export.planning import planned
from vit_export.precision import Asked, Scales, check_precision
from vit_export.progress import Progress, silent
from vit_export.proof import prove
from vit_export.report import to_json
from vit_export.request import Numbers, Outputs, Wanted, steps_of, told_of
from vit_export.runtimes import open_artifact
from vit_export.runtimes.module import ModuleSession
from vit_export.samples import image_samples, make_samples, recipes
from vit_export.source import Source
from vit_export.targets import find_target
from vit_export.targets.base import Job, Target
from vit_export.verdict import Built, Origin, RejectedError, Verdict
from vit_export.versions import versions_of
from vit_export.writing import Staged, check_writable, staged

if TYPE_CHECKING:  # torch is heavy, and a bad request is refused without it
    from vit_export.loading import Model
    from vit_export.vit.lower import LoweredVit

STAGE_SAMPLES = [0, 3]
"""What a stage between model and file is tried on: two samples of different kinds, ..."""
STAGE_BATCH = Batch(1, 1, 2)
"""... alone and together. The saved file gets all samples and batch sizes."""


def build(
    target: str,
    model: "Model | None",
    out: str | Path,
    *,
    weights: str | Path | None = None,
    heads: int | None = None,
    activation: str | None = None,
    pool: str | None = None,
    norm_eps: float | None = None,
    trained_size: str | None = None,
    seed: int = 0,
    image_size: str | None = None,
    classes: int | None = None,
    outputs: Outputs | None = None,
    labels: str | Path | None = None,
    mean: Numbers | None = None,
    std: Numbers | None = None,
    resize: str | int | None = None,
    crop: str | float | None = None,
    interpolation: str | None = None,
    batch: str = "dynamic",
    precision: str = "fp32",
    scales: Scales = "batch",
    calibration: str | Path | None = None,
    io_fp16: bool = False,
    images: str | Path | None = None,
    threads: int | None = None,
    progress: Progress = silent,
    **options: Any,
) -> Built:
    """A file of `model` for `target`, proven against eager PyTorch before it takes the name `out`.

    Args:
        target: a name in `targets.TARGETS`.
        model: a preset's name or TOML, a live module of a known family, or (VitSpec, state dict);
            None with `weights` means that the checkpoint decides.
        out: the file; only a proven result takes this name.
        weights: a checkpoint, file or folder; without it the shipped weights, else random ones.
        heads: of the checkpoint, where its tensors and its config.json do not tell; so are
        activation: `gelu`, `gelu_tanh` or `quick_gelu`,
        pool: a value of `VitSpec.pool`,
        norm_eps: the epsilon of its LayerNorms, and
        trained_size: "HxW" of its images, if they were not square.
        seed: of random weights.
        image_size: "HxW" of the exported model.
        classes: rows of the head; with weights it only checks.
        outputs: `logits`, `features` (pooled, without classifier) or `tokens` (all of them).
        labels: a file that names the classes, one a line, or JSON.
        mean: of the pixels 0..1, one number or one per channel; so is
        std: their standard deviation.
        resize: the shorter side before the crop, or "HxW".
        crop: what the model takes, in pixels, or as a share of the resized image (0.875, 1.0).
        interpolation: `bilinear`, `bicubic`, `lanczos` or `nearest`.
        batch: `dynamic`, N or MIN:OPT:MAX.
        precision: a name in `precision.PRECISIONS`.
        scales: of int8: `batch`, or `token` for a run-time scale of each row.
        calibration: a folder of images that scales are found on.
        io_fp16: inputs and outputs of an fp16 file in fp16 too.
        images: a folder of images to judge on, besides the samples that ship.
        threads: of the runtime that proves the file.
        progress: opened around every stage.
        options: the target's own (`Target.options`).

    Raises:
        RequestError: the request makes no sense.
        MissingError: a package of the target is not installed.
        BuildError: the file could not be made or written.
        RejectedError: it was made, and is not the model; it is kept as OUT.rejected.
    """
    chosen = find_target(target)
    settings = chosen.settings(options)
    asked = Asked(
        precision=precision, scales=scales, calibration=_path(calibration), io_fp16=io_fp16
    )
    check_precision(asked, target, chosen.precisions)
    chosen.check(precision, settings)
    path, sizes = Path(out), Batch.parse(batch)
    told = told_of(heads, activation, pool, norm_eps, trained_size)
    wanted = Wanted(
        image_size=image_size,
        classes=classes,
        outputs=outputs,
        labels=_path(labels),
        steps=steps_of(mean, std, resize, crop, interpolation),
    )
    check_writable(path)
    with progress("load"):
        source = load_source(model, weights=_path(weights), seed=seed, told=told, wanted=wanted)
    with progress("answer in eager PyTorch"):
        reference, samples = _reference(source, _path(images))
    with progress("lower"):
        lowered = _lowered(source, reference, samples)
    manifest = _manifest(chosen, source, sizes, settings, reference)
    ready = planned(lowered, manifest, asked, samples, progress)
    manifest, notes = ready.manifest, (source.preprocessing_note, *ready.notes)
    origin = Origin(
        source.weights_from, source.random, dict(source.unused), "; ".join(filter(None, notes))
    )
    job = Job(lowered=lowered, manifest=manifest, plan=ready.plan, samples=samples, io_fp16=io_fp16)
    with staged(path) as stage:
        chosen.build(job, stage.file, progress)
        del (
            source,
            lowered,
            job,
            ready,
        )  # the weights are in the file: nobody holds them twice while it runs,
        gc.collect()  # nor do the cycles that exporters leave behind
        verdict = _judged(stage, manifest, (reference, samples), threads, progress)
        return _settle(stage, verdict, origin)


def _path(value: str | Path | None) -> Path | None:
    return None if value is None else Path(value)


def _reference(source: Source, images: Path | None) -> tuple[Reference, Array]:
    from vit_export.vit.reference import reference_of

    names = recipes(source.preprocessing)
    made = make_samples(names, source.vit.spec, source.preprocessing)
    if images is not None:
        more, extra = image_samples(images, source.preprocessing)
        names, made = [*names, *more], np.concatenate([made, extra])
    return reference_of(source.vit, names, made), made


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
    if verdict.status != "PROVEN":
        raise RejectedError(verdict, "report this with the model's spec: a rewrite is wrong.")
    return lowered


def _manifest(
    target: Target, source: Source, batch: Batch, settings: dict[str, Any], reference: Reference
) -> Manifest:
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
        versions=versions_of(("vit-export", *target.packages, "numpy", "pillow")),
        settings=settings,
        tolerance=asdict(TOLERANCES["fp32"]),
        reference=reference.made_anywhere(),
    )


def _judged(
    stage: Staged,
    manifest: Manifest,
    expected: tuple[Reference, Array],
    threads: int | None,
    progress: Progress,
) -> Verdict:
    """The verdict on the staged file, opened as its user will open it."""
    try:
        session = open_artifact(stage.file, threads)
    except RequestError as error:  # what was just written is no artifact
        return Verdict.unopened(stage.out, manifest.precision, error.message)
    return prove(
        session,
        stage.out,
        *expected,
        batch=manifest.batch,
        precision=manifest.precision,
        tolerance=TOLERANCES[manifest.precision],
        classifies=manifest.spec.classifies,
        progress=progress,
    )


def _settle(stage: Staged, verdict: Verdict, origin: Origin) -> Built:
    if verdict.status != "PROVEN":
        kept = stage.reject(to_json(verdict.to_mapping()))
        fix = f"vit-export locate {kept} says where; {stage.out.name} is as it was."
        raise RejectedError(verdict, fix)
    size = sum(file.stat().st_size for file in stage.folder.iterdir())
    stage.commit()
    return Built(path=stage.out, size_bytes=size, origin=origin, verdict=verdict)
