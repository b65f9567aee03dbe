"""The function behind every export: `vit_export.onnx` and the others are made from it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vit_export.api.export import export
from vit_export.api.request import ExportRequest
from vit_export.api.result import ExportResult
from vit_export.artifact.batch import Batch
from vit_export.artifact.precision import Part, QuantizationRequest, Scales
from vit_export.backends import find_installed_backend
from vit_export.checkpoints.hints import Check, CheckpointHints
from vit_export.checkpoints.module.request import ModuleRequest
from vit_export.checkpoints.overrides import (
    ModelOverrides,
    Numbers,
    Outputs,
    PreprocessingOverrides,
)
from vit_export.core.output_path import resolve_out
from vit_export.core.progress import Progress, silent
from vit_export.data.annotations import read_annotations
from vit_export.model.output_names import parse_output_names
from vit_export.model.signature import ProblemType

if TYPE_CHECKING:  # torch is heavy, and a bad request is refused without it
    from torch import Tensor

    from vit_export.checkpoints.load import ModelLike


def build(
    target: str,
    model: "ModelLike | None",
    out: str | Path,
    *,
    source: str | Path | None = None,
    module: str | None = None,
    arguments: Mapping[str, Any] | Sequence[str] = (),
    input_shape: str | None = None,
    example: "Tensor | None" = None,
    weights: str | Path | None = None,
    heads: int | None = None,
    activation: str | None = None,
    pool: str | None = None,
    norm_eps: float | None = None,
    trained_size: str | None = None,
    arch: str | None = None,
    prefix: str | None = None,
    head_from: str | None = None,
    base: str | Path | None = None,
    strict: bool = False,
    problem_type: ProblemType | None = None,
    check: Check = "auto",
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
    plan: str | Path | None = None,
    images: str | Path | None = None,
    labels_csv: str | Path | None = None,
    threads: int | None = None,
    progress: Progress = silent,
    **options: Any,
) -> ExportResult:
    """Export `model` for `target` to `out`, and prove the file against eager PyTorch.

    Args:
        target: a name in `backends.BACKENDS`.
        model: a preset's name or TOML file, a module in memory, or (VitSpec, state dict). None with
            `weights` leaves the choice to the checkpoint, and with `module` to that.
        out: the file to write. Only a proven result takes this name.
        source: an ONNX file of another tool in fp32, in place of `model`; its own answers are the
            right ones.
        module: the user's own code, which runs: `FILE.py:NAME` or `package.module:NAME` of a class,
            a function or a module; or the model of a library, `timm:NAME` or `transformers:DIR`.
        arguments: arguments of that class or function by name.
        input_shape: "CxHxW" of one image for `module`, if `image_size` with three channels does not
            say it; or the sides of any other sample, without the batch.
        example: a batch of images (B, C, H, W), or of other samples, for a module in memory, if it
            is of no known family. Only its shape counts.
        weights: a checkpoint file or folder. None takes the preset's shipped weights, or else
            random ones.
        heads: number of attention heads, if the checkpoint does not record it.
        activation: activation of the MLPs, if the checkpoint does not record it: `gelu`,
            `gelu_tanh`, `quick_gelu` or `swiglu`.
        pool: a value of `VitSpec.pool`, if the model does not pool its tokens as its family does.
        norm_eps: epsilon of the LayerNorms, if it is not the family's.
        trained_size: "HxW" of the training images, if they were not square.
        arch: the library's own model that the checkpoint was saved from, `timm:NAME` or
            `transformers:CLASS`, if no config.json names it.
        prefix: prefix of the tensors to read, such as "student."; the others are left out.
        head_from: name of the module whose tensors are the classifier, such as "classifier".
        base: the checkpoint that an adapter (LoRA) in `weights` belongs to.
        strict: whether what would be assumed about a checkpoint is an error instead.
        problem_type: what the logits are for, if no config.json says it: `single_label` (softmax),
            `multi_label` (sigmoid) or `regression` (plain numbers).
        check: whether the library's own model has to answer as what was read from a checkpoint:
            `auto` where the library is installed, `require`, or `off`.
        seed: seed of random weights.
        image_size: "HxW" of the exported model.
        classes: number of classes. Trained weights accept only their own number.
        outputs: what the file answers, as a list or as text: `logits`, `features` (pooled, without
            the classifier), `tokens` (all of them), `token` (the class token), `patches`,
            `layers:3,6`, `normed-layers:3,6` and `attentions:12`; of `module`, parts of its answer.
        labels: a file of class names, one per line or as JSON.
        mean: mean of the pixels, scaled to 0..1: one number, or one per channel.
        std: standard deviation of the pixels, scaled to 0..1: one number, or one per channel.
        resize: the shorter side before the crop in pixels, or "HxW".
        crop: size of the crop in pixels, or its share of the resized image (0.875, 1.0).
        interpolation: `bilinear`, `bicubic`, `lanczos` or `nearest`.
        batch: `dynamic`, N or MIN:OPT:MAX. Targets with optimization profiles take several.
        precision: a name in `artifact.precision.PRECISIONS`; None means fp32.
        scales: run-time scales of int8: one per `batch`, or one per `token`.
        calibration: a folder of images to calibrate on.
        include: parts to quantize besides the blocks' linear layers: `patches`, `head` and
            `attention`.
        io_fp16: inputs and outputs of an fp16 file are fp16 too.
        min_snr: for auto, the least signal-to-noise ratio of every sample in dB; None means 25.
        min_top1: for auto, the least share of images that keep their top class; None means 0.99.
        plot: for auto, a figure file to write, of latency against accuracy.
        plan: for auto, an earlier file whose choice of precisions is repeated without a search. The
            same request then gives the same bytes.
        images: a folder of images to measure accuracy on, for `ExportResult.images`. A sub-folder
            is called after the class of its images, by name or index. Some images join the proof.
        labels_csv: a CSV file with the labels of `images`: a file name and a class in each row.
        threads: threads of the runtime that runs the file; None for the runtime's default.
        progress: opened around every stage.
        options: the target's own options (`Backend.options`).

    Raises:
        RequestError: the request makes no sense.
        MissingError: this machine lacks a package or a GPU that the request needs.
        BuildError: the file could not be built or written.
        RejectedError: the file does not answer as the model does. It is kept as OUT.rejected.
    """
    backend = find_installed_backend(target)
    request = ExportRequest(
        backend=backend,
        out=resolve_out(out),
        model=model,
        source=_path(source),
        module=ModuleRequest.choose(module, arguments, input_shape, image_size, example),
        weights=_path(weights),
        seed=seed,
        hints=CheckpointHints.select(locals()),
        check=check,
        overrides=ModelOverrides(
            image_size=image_size,
            classes=classes,
            outputs=None if outputs is None else parse_output_names(outputs),
            labels=_path(labels),
            preprocessing=PreprocessingOverrides.parse(
                mean=mean, std=std, resize=resize, crop=crop, interpolation=interpolation
            ),
        ),
        batch=backend.resolve_batch(Batch.parse(batch)),
        quantization=QuantizationRequest(
            precision=backend.resolve_precision(precision, options),
            scales=scales,
            calibration=_path(calibration),
            include=tuple(include),
            io_fp16=io_fp16,
            min_snr=min_snr,
            min_top1=min_top1,
            plan=_path(plan),
            plot=None if plot is None else resolve_out(plot),
        ),
        options=backend.parse_options(options),
        images=read_annotations(images, labels_csv),
        threads=threads,
    )
    return export(request, progress)


def _path(value: str | Path | None) -> Path | None:
    return None if value is None else Path(value)
