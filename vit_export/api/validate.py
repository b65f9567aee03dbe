"""Validates an existing file: against its own answers, or against its checkpoint."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vit_export.api.validate_foreign import validate_foreign
from vit_export.api.validate_here import validate_here
from vit_export.api.validate_inputs import choose_module, list_files, open_images, split_names
from vit_export.api.validation_request import (
    ValidationRequest,
    check_model_options,
    check_own_file,
)
from vit_export.artifact.manifest import Manifest
from vit_export.backends import find_backend
from vit_export.backends.open import open_artifact, read_manifest
from vit_export.backends.session import Session
from vit_export.checkpoints.hints import Check, CheckpointHints
from vit_export.checkpoints.overrides import (
    ModelOverrides,
    Numbers,
    Outputs,
    PreprocessingOverrides,
)
from vit_export.core.errors import RequestError
from vit_export.core.progress import Progress, silent, warn
from vit_export.data.annotations import Annotations, read_annotations
from vit_export.model.output_names import parse_output_names
from vit_export.model.signature import ProblemType
from vit_export.validation.accuracy import AccuracyEvaluation
from vit_export.validation.emulation.cpus import EmulatedCpu
from vit_export.validation.emulation.validate import (
    find_ready_cpus,
    validate_emulated,
)
from vit_export.validation.html_report import resolve_report, write_report
from vit_export.validation.verdict import Verdict

if TYPE_CHECKING:  # torch is heavy, and `validate` on a file alone is done without it
    from torch import nn


def validate(
    artifact: str | Path,
    *,
    weights: str | Path | None = None,
    module: str | None = None,
    arguments: Mapping[str, Any] | Sequence[str] = (),
    arch: str | None = None,
    prefix: str | None = None,
    head_from: str | None = None,
    base: str | Path | None = None,
    check: Check = "auto",
    model: "str | nn.Module | None" = None,
    labels: str | Path | None = None,
    problem_type: ProblemType | None = None,
    mean: Numbers | None = None,
    std: Numbers | None = None,
    resize: str | int | None = None,
    crop: str | float | None = None,
    interpolation: str | None = None,
    image_size: str | None = None,
    input_shape: str | None = None,
    outputs: Outputs | None = None,
    output_names: str | Sequence[str] = (),
    min_snr: float | None = None,
    seed: int | None = None,
    images: str | Path | None = None,
    labels_csv: str | Path | None = None,
    report: str | Path | None = None,
    threads: int | None = None,
    on: Iterable[str] = (),
    trust: bool = False,
    progress: Progress = silent,
) -> Verdict:
    """Validate an existing file, and return the verdict. ONNX needs no torch without `weights`.

    Args:
        artifact: a file that vit-export wrote, or an ONNX file of another tool; the latter needs
            `weights` or `module`.
        weights: the checkpoint it came from, to compute the right answers in eager PyTorch. Without
            it the right answers are the file's own, which whoever edits the file can edit too.
        module: the user's own code that the file was exported from, which runs: as in the export.
        arguments: arguments of that class or function by name, as in the export.
        arch: the library's own model that the checkpoint was saved from, `timm:NAME` or
            `transformers:CLASS`, if no config.json names it.
        prefix: prefix of the tensors to read; None takes the one that the export was given.
        head_from: name of the module whose tensors are the classifier; None as for `prefix`.
        base: the checkpoint that an adapter (LoRA) in `weights` belongs to.
        check: whether the library's own model of `weights` has to answer as the model in the
            file's manifest: `auto` where the library is installed, `require`, or `off`.
        model: a preset's name or TOML file, whose labels and preprocessing the file should have.
            None takes the preset that the file names. For a file of another tool it is the
            architecture of `weights`, or a module in memory that the file should be.
        labels: a file of class names that the file should have.
        problem_type: the problem type that the file should have.
        mean: mean of the pixels that the file should have.
        std: standard deviation of the pixels that the file should have.
        resize: the resize that the file should have.
        crop: the crop that the file should have.
        interpolation: the interpolation that the file should have.
        image_size: "HxW" of the images of another tool's file, if it takes several sizes.
        input_shape: "CxHxW", or the sides of any other sample, in place of `image_size`.
        outputs: what another tool's file answers, as in the export, if it is not the model's own
            answer.
        output_names: its outputs, in the order of the model's, if neither names nor shapes tell.
        min_snr: minimum signal-to-noise ratio of every sample in dB, in place of a budget that the
            file claims. It can't be below the limit of the file's arithmetic.
        seed: seed of samples that are drawn for this proof alone. They need `weights`; None draws
            a seed, which the verdict names.
        images: a folder of images to measure accuracy on, for `Verdict.images`. A sub-folder is
            called after the class of its images, by name or index.
        labels_csv: a CSV file with the labels of `images`: a file name and a class in each row.
        report: an HTML file to write, with the verdict and its plots.
        threads: intra-op threads of the runtime; None for the runtime's default.
        on: names of CPUs, `emulate()` lists them. An ONNX file is proven on each of them too, in an
            emulator, for `Verdict.emulated`; `images` are answered on this machine alone.
        trust: whether code in the file may run, where its kind of file holds code.
        progress: opened around every stage.

    Raises:
        RequestError: vit-export did not write the file, `weights` do not fit, or the images cannot
            be used: there are none, they are unreadable, their classes are unknown, or there is
            nothing to compare with.
        MissingError: the file's runtime is not installed, a library is required and cannot be
            imported, or no sample can be made again here; or
            an emulator is not installed, or is not what it should be.
        BuildError: an emulator crashed, or takes too long.
    """
    hints = CheckpointHints.select(locals())
    path = Path(artifact)
    cpus = find_ready_cpus(on, path)
    request = ValidationRequest(
        weights=None if weights is None else Path(weights),
        module=choose_module(module, arguments, input_shape, image_size, model),
        hints=hints,
        check=check,
        preset=model if isinstance(model, str) else None,
        memory=None if isinstance(model, str) else model,
        overrides=ModelOverrides(
            image_size=image_size,
            outputs=None if outputs is None else parse_output_names(outputs),
            labels=None if labels is None else Path(labels),
            preprocessing=PreprocessingOverrides.parse(
                mean=mean, std=std, resize=resize, crop=crop, interpolation=interpolation
            ),
        ),
        output_names=split_names(output_names),
        min_snr=min_snr,
        seed=seed,
    )
    annotations = read_annotations(images, labels_csv)
    report_file = resolve_report(report, list_files(path, request, annotations))
    session = open_artifact(path, threads, trust=trust)
    if session.manifest_json() is None:
        if cpus:
            message = f"{path} is of another tool, and --on proves files of vit-export."
            raise RequestError(message, "leave --on out.")
        judge = partial(validate_foreign, path, request, annotations)
    else:
        judge = partial(_validate_own, session, path, request, annotations, cpus)
    verdict, manifest = judge(threads=threads, progress=progress)
    if report_file is not None:
        write_report(report_file, verdict, manifest)
    return verdict


def _validate_own(
    session: Session,
    path: Path,
    request: ValidationRequest,
    annotations: Annotations | None,
    cpus: Sequence[EmulatedCpu],
    *,
    threads: int | None,
    progress: Progress,
) -> tuple[Verdict, Manifest]:
    """Return the verdict on a file that vit-export wrote, and its manifest."""
    check_own_file(path, request)
    manifest = read_manifest(session, path)
    for sentence in find_backend(manifest.target).warnings(manifest):
        warn(progress, sentence)
    check_model_options(manifest, request)
    dataset = open_images(annotations, request.origin, manifest, progress)
    tokens = manifest.spec.tokens if manifest.spec else None
    with AccuracyEvaluation(dataset, tokens) as evaluation:
        verdict, claim = validate_here(
            session, path, manifest, request, evaluation, threads=threads, progress=progress
        )
        verdict = evaluation.run_artifact(verdict, session, manifest, progress)
    emulated = {cpu.name: validate_emulated(cpu, claim, threads, progress) for cpu in cpus}
    return replace(verdict, emulated=emulated), manifest
