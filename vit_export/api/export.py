"""The way from a model to a proven file: every stage, in its order, and nothing else."""

import gc
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vit_export.api.accept import judged, settle
from vit_export.api.stages import Work, job_of, manifest_of
from vit_export.artifact.batch import Batch
from vit_export.artifact.precision import Part, QuantizationRequest, Scales
from vit_export.artifact.reference import Reference
from vit_export.backends import find_installed_backend
from vit_export.backends.interface import check_interface
from vit_export.checkpoints.hints import CheckpointHints
from vit_export.checkpoints.load import load
from vit_export.checkpoints.overrides import (
    ModelOverrides,
    Numbers,
    Outputs,
    PreprocessingOverrides,
)
from vit_export.core.errors import RequestError
from vit_export.core.figures import check_picture
from vit_export.core.progress import Progress, silent
from vit_export.core.staging import check_writable, staged
from vit_export.data.annotations import read_annotations
from vit_export.data.dataset import ImageDataset, open_dataset
from vit_export.data.images import find_images
from vit_export.model.model import Model
from vit_export.quantization.plots import write_search_plot
from vit_export.validation.accuracy import AccuracyEvaluation
from vit_export.validation.reading import check_reading
from vit_export.validation.sample_set import SampleSet, make_sample_set
from vit_export.validation.verdict import Built, Origin

if TYPE_CHECKING:  # torch is heavy, and a bad request is refused without it
    from vit_export.checkpoints.load import ModelLike


def build(
    target: str,
    model: "ModelLike | None",
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
    batch: str | Sequence[str] = "dynamic",
    precision: str | None = None,
    scales: Scales = "batch",
    calibration: str | Path | None = None,
    include: Sequence[Part] = (),
    io_fp16: bool = False,
    min_snr: float | None = None,
    min_top1: float | None = None,
    plot: str | Path | None = None,
    images: str | Path | None = None,
    labels_csv: str | Path | None = None,
    threads: int | None = None,
    progress: Progress = silent,
    **options: Any,
) -> Built:
    """A file of `model` for `target`, proven against eager PyTorch before it takes the name `out`.

    Args:
        target: a name in `backends.BACKENDS`.
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
        batch: `dynamic`, N or MIN:OPT:MAX; several for a target with optimization profiles.
        precision: a name in `precision.PRECISIONS`; fp32 when nothing is said.
        scales: of int8: `batch`, or `token` for a run-time scale of each row.
        calibration: a folder of images that scales are found on.
        include: of int8 and its kin what is quantized besides the blocks' linear layers: `patches`,
            `head`, and `attention`, the two products inside.
        io_fp16: inputs and outputs of an fp16 file in fp16 too.
        min_snr: of auto: dB that every sample has to keep, 35 where nothing is said, and
        min_top1: the share of images whose top class has to stay, 0.99.
        plot: of auto: a picture of latency against accuracy.
        images: a folder of images to judge on (`Built.images`); those in sub-folders are labelled
            by them, with a class's name or index. Some join the samples that ship.
        labels_csv: their labels instead: rows of a file's name in the folder and a class.
        threads: of the runtime that proves the file.
        progress: opened around every stage.
        options: the target's own (`Backend.options`).

    Raises:
        RequestError: the request makes no sense.
        MissingError: a package or a GPU that this needs is not here.
        BuildError: the file could not be made or written.
        RejectedError: it was made, and is not the model; it is kept as OUT.rejected.
    """
    chosen = find_installed_backend(target)
    settings = chosen.parse_options(options)
    asked = QuantizationRequest(
        precision=chosen.resolve_precision(precision, options),
        scales=scales,
        calibration=_path(calibration),
        include=tuple(include),
        io_fp16=io_fp16,
        min_snr=min_snr,
        min_top1=min_top1,
        plot=_path(plot),
    )
    chosen.check(asked, settings)
    path, sizes = Path(out), chosen.resolve_batch(Batch.parse(batch))
    hints = CheckpointHints(
        heads=heads, activation=activation, pool=pool, norm_eps=norm_eps, trained_size=trained_size
    )
    hints.spec_fields()
    overrides = ModelOverrides(
        image_size=image_size,
        classes=classes,
        outputs=outputs,
        labels=_path(labels),
        preprocessing=PreprocessingOverrides.parse(
            mean=mean, std=std, resize=resize, crop=crop, interpolation=interpolation
        ),
    )
    _check_files(path, asked)
    given = read_annotations(images, labels_csv)
    with progress("load"):
        source = load(
            model,
            weights=_path(weights),
            seed=seed,
            hints=hints,
            overrides=overrides,
            check_reading=check_reading,
        )
    check_interface(settings, source.vit.spec, source.preprocessing, io_fp16=io_fp16)
    pictures = open_dataset(
        given,
        source.preprocessing,
        answer=source.signature.answer,
        classes=source.signature.classes,
        names=source.labels,
        progress=progress,
    )
    tokens = source.spec.tokens if source.spec else None
    with AccuracyEvaluation(pictures, tokens) as exam, staged(path) as stage:
        with progress("answer in eager PyTorch"):
            reference, fed = _reference(source, pictures, settings)
        exam.run_eager(source.vit, progress)
        manifest = manifest_of(chosen, source, sizes, settings, reference)
        work = Work(asked, images=pictures, threads=threads, progress=progress)
        job, origin = job_of(source, manifest, (reference, fed.inputs), work)
        _draw(asked.plot, origin)
        manifest = chosen.build(replace(job, settings=settings), stage.file, progress)
        del source, job  # the weights are in the file: nobody holds them twice while it runs,
        gc.collect()  # nor do the cycles that exporters leave behind
        seen = reference, fed.file_inputs
        verdict = judged(stage, chosen, manifest, seen, exam, threads=threads, progress=progress)
        return settle(stage, chosen, verdict, origin, settings)


def _draw(plot: Path | None, origin: Origin) -> None:
    if plot is not None and origin.search is not None:
        write_search_plot(plot, origin.search)


def _check_files(out: Path, asked: QuantizationRequest) -> None:
    """Nothing, when what is to be read is there and what is to be written can be."""
    check_writable(out)
    if asked.calibration is not None:
        find_images(asked.calibration)
    if asked.plot is not None:
        check_picture(asked.plot)
        if asked.plot.resolve() == out.resolve():
            raise RequestError(f"{out} can't be the picture too.", "give --plot another name.")


def _path(value: str | Path | None) -> Path | None:
    return None if value is None else Path(value)


def _reference(
    source: Model, images: ImageDataset | None, settings: Mapping[str, Any]
) -> tuple[Reference, SampleSet]:
    from vit_export.validation.reference import compute_reference

    levels = settings.get("preprocess") == "graph"
    samples = make_sample_set(
        source.signature.image_shape, source.preprocessing, images, pixels=levels
    )
    return compute_reference(source.module, samples), samples
