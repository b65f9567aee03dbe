"""Validates an existing file: against its own answers, or against its checkpoint."""

from collections.abc import Collection, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

from vit_export.api.inputs import list_inputs
from vit_export.api.validation_request import ValidationRequest
from vit_export.artifact.manifest import Manifest
from vit_export.artifact.reference import Reference
from vit_export.backends import find_backend
from vit_export.backends.open import find_backend_of, open_artifact, read_manifest
from vit_export.backends.session import Session
from vit_export.checkpoints.from_manifest import rebuild_vit
from vit_export.checkpoints.metadata import compare_metadata, find_metadata
from vit_export.checkpoints.overrides import ModelOverrides, Numbers, PreprocessingOverrides
from vit_export.core.errors import MissingError, RequestError
from vit_export.core.progress import Progress, silent, warn
from vit_export.data.annotations import Annotations, read_annotations
from vit_export.data.dataset import ImageDataset, open_dataset
from vit_export.validation.accuracy import AccuracyEvaluation
from vit_export.validation.claims import (
    choose_tolerance,
    find_false_precision,
    find_false_samples,
)
from vit_export.validation.elsewhere import validate_elsewhere
from vit_export.validation.emulation.validate import (
    Claim,
    find_ready_cpus,
    validate_emulated,
)
from vit_export.validation.expectation import Expectation
from vit_export.validation.html_report import resolve_report, write_report
from vit_export.validation.sample_set import SampleSet, remake_sample_set
from vit_export.validation.verdict import Verdict


def validate(
    artifact: str | Path,
    *,
    weights: str | Path | None = None,
    model: str | None = None,
    labels: str | Path | None = None,
    mean: Numbers | None = None,
    std: Numbers | None = None,
    resize: str | int | None = None,
    crop: str | float | None = None,
    interpolation: str | None = None,
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
        artifact: a file that vit-export wrote.
        weights: the checkpoint it came from, to compute the right answers in eager PyTorch. Without
            it the right answers are the file's own, which whoever edits the file can edit too.
        model: a preset's name or TOML file, whose labels and preprocessing the file should have.
            None takes the preset that the file names.
        labels: a file of class names that the file should have.
        mean: mean of the pixels that the file should have.
        std: standard deviation of the pixels that the file should have.
        resize: the resize that the file should have.
        crop: the crop that the file should have.
        interpolation: the interpolation that the file should have.
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
        MissingError: the file's runtime is not installed, or no sample can be made again here; or
            an emulator is not installed, or is not what it should be.
        BuildError: an emulator crashed, or takes too long.
    """
    path = Path(artifact)
    cpus = find_ready_cpus(on, path)
    request = ValidationRequest(
        weights=None if weights is None else Path(weights),
        preset=model,
        overrides=ModelOverrides(
            labels=None if labels is None else Path(labels),
            preprocessing=PreprocessingOverrides.parse(
                mean=mean, std=std, resize=resize, crop=crop, interpolation=interpolation
            ),
        ),
        min_snr=min_snr,
        seed=seed,
    )
    annotations = read_annotations(images, labels_csv)
    report_file = resolve_report(report, _list_inputs(path, request, annotations))
    session = open_artifact(path, threads, trust=trust)
    manifest = read_manifest(session, path)
    for sentence in find_backend(manifest.target).warnings(manifest):
        warn(progress, sentence)
    dataset = open_dataset(
        annotations,
        manifest.preprocessing,
        answer=manifest.signature.answer,
        classes=manifest.signature.classes,
        names=manifest.labels,
        progress=progress,
    )
    _check_comparable(dataset, request.weights, manifest)
    tokens = manifest.spec.tokens if manifest.spec else None
    with AccuracyEvaluation(dataset, tokens) as evaluation:
        verdict, claim = _validate(
            session, path, manifest, request, evaluation, threads=threads, progress=progress
        )
        verdict = evaluation.run_artifact(verdict, session, manifest, progress)
    emulated = {cpu.name: validate_emulated(cpu, claim, threads, progress) for cpu in cpus}
    verdict = replace(verdict, emulated=emulated)
    if report_file is not None:
        write_report(report_file, verdict, manifest)
    return verdict


def _list_inputs(
    artifact: Path, request: ValidationRequest, images: Annotations | None
) -> dict[str, Path | None]:
    """Return the files that a validation reads."""
    inputs = list_inputs(
        weights=request.weights,
        model=request.preset,
        labels=request.overrides.labels,
        images=images,
    )
    companions = find_backend_of(artifact).companions(artifact)
    beside = {f"ARTIFACT ({file.name})": file for file in companions}
    return {"ARTIFACT": artifact, **inputs, **beside}


def _check_comparable(
    dataset: ImageDataset | None, weights: Path | None, manifest: Manifest
) -> None:
    """Raise RequestError unless the images have labels, or eager PyTorch can answer them."""
    if dataset is not None and dataset.labels is None and weights is None:
        message = f"The images in {dataset.folder} have no labels to compare answers with."
        by_label = ", or label them by sub-folders or --labels-csv" * manifest.signature.classifies
        raise RequestError(message, f"give --weights for eager PyTorch's answers{by_label}.")


def _validate(
    session: Session,
    path: Path,
    manifest: Manifest,
    request: ValidationRequest,
    evaluation: AccuracyEvaluation,
    *,
    threads: int | None,
    progress: Progress,
) -> tuple[Verdict, Claim]:
    """Return the verdict on this machine, and what the file has to answer on every other one."""
    arithmetic = find_backend_of(path).find_precisions(path)
    tolerance = choose_tolerance(manifest, arithmetic, request.min_snr)
    with progress("remake the samples"):
        samples = remake_sample_set(manifest, request.seed)
    reference, source = manifest.reference, Verdict.reference
    if request.weights is not None:
        reference = _answer_in_eager(manifest, request.weights, samples, evaluation, progress)
        source = f"eager PyTorch, afresh from {request.weights.name}"
    expectation = Expectation.from_manifest(manifest, reference, tolerance)
    claim = Claim(path, manifest, expectation, samples.file_inputs, source)
    prove = partial(claim.validate, progress=progress)
    verdict = validate_elsewhere(
        prove(session), path, manifest, prove, threads=threads, progress=progress
    )
    if len(verdict.not_repeated) == len(samples.recipes):
        message = f"{path}: none of its samples could be made again here."
        versions = ", ".join(f"{name} {version}" for name, version in manifest.versions.items())
        raise MissingError(message, f"install the versions that made the file: {versions}.")
    verdict = replace(verdict, seed=request.seed)
    return _add_claims(verdict, manifest, arithmetic, samples, request), claim


def _add_claims(
    verdict: Verdict,
    manifest: Manifest,
    arithmetic: Collection[str] | None,
    samples: SampleSet,
    request: ValidationRequest,
) -> Verdict:
    """Return the verdict with what the manifest claims falsely, and what could not be checked."""
    expected = find_metadata(manifest, request.weights, request.preset, request.overrides)
    false, unchecked = compare_metadata(manifest, expected)
    failures = [
        *find_false_precision(manifest, arithmetic),
        *find_false_samples(manifest, samples),
        *false,
    ]
    unread = arithmetic is None and not verdict.products
    claimed = ["precision as claimed"] if unread else []
    verdict = replace(verdict, caveats=(*verdict.caveats, *claimed, *unchecked))
    return verdict.add_failures(failures)


def _answer_in_eager(
    manifest: Manifest,
    weights: Path,
    samples: SampleSet,
    evaluation: AccuracyEvaluation,
    progress: Progress,
) -> Reference:
    """Return the answers of eager PyTorch to the samples, and store those to the user's images."""
    from vit_export.validation.reference import compute_reference

    with progress("answer in eager PyTorch"):
        vit = rebuild_vit(manifest, weights)
        reference = compute_reference(vit, samples)
    evaluation.run_eager(vit, progress)
    return reference
