"""The Python twin of every command, and the only place that orders stages.

Every target has a function of its name here too: `vit_export.onnx(model, "vit.onnx", opset=18)` is
`build("onnx", model, "vit.onnx", opset=18)`.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vit_export.batch import Batch
from vit_export.compare import TOLERANCES, Tolerance
from vit_export.errors import MissingError, RequestError
from vit_export.health import Health, examine
from vit_export.layers import Summary, parameters_of, summarize
from vit_export.manifest import Array, Manifest, Reference
from vit_export.page import write_page
from vit_export.prediction import Prediction, predict_images
from vit_export.presets import DEFAULT, Preset, load_preset, preset_names
from vit_export.progress import Progress, silent
from vit_export.proof import prove
from vit_export.report import to_json
from vit_export.runtimes import open_artifact, read_manifest
from vit_export.samples import image_samples, make_samples, recipes
from vit_export.source import Source, load_source, overrides_of
from vit_export.targets import find_target
from vit_export.targets.base import Target
from vit_export.verdict import Built, RejectedError, Verdict
from vit_export.versions import versions_of
from vit_export.writing import Staged, check_writable, staged

if TYPE_CHECKING:
    from vit_export.source import Model


def build(
    target: str,
    model: "Model",
    out: str | Path,
    *,
    weights: str | Path | None = None,
    seed: int = 0,
    image_size: str | None = None,
    classes: int | None = None,
    batch: str = "dynamic",
    images: str | Path | None = None,
    threads: int | None = None,
    progress: Progress = silent,
    **options: Any,
) -> Built:
    """A file of `model` for `target`, proven against eager PyTorch before it takes the name `out`.

    Args:
        target: a name in `targets.TARGETS`.
        model: a preset's name or TOML, a live module of a known family, or (VitSpec, state dict).
        out: the file; only a proven result takes this name.
        weights: a checkpoint for a preset; without it the shipped weights, else random ones.
        seed: of random weights.
        image_size: "HxW" of the exported model.
        classes: rows of the head; with weights it only checks.
        batch: `dynamic`, N or MIN:OPT:MAX.
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
    sizes = Batch.parse(batch)
    path = Path(out)
    check_writable(path)
    with progress("load"):
        file = Path(weights) if weights is not None else None
        source = load_source(model, weights=file, seed=seed, image_size=image_size, classes=classes)
    with progress("answer in eager PyTorch"):
        reference, samples = _reference(source, Path(images) if images is not None else None)
    manifest = _manifest(chosen, source, sizes, settings, reference)
    with staged(path) as stage:
        chosen.build(source.vit, manifest, stage.file, progress)
        try:
            session = open_artifact(stage.file, threads)
        except RequestError as error:  # what was just written is no artifact
            return _settle(stage, Verdict.unopened(path, manifest.precision, error.message), source)
        verdict = prove(
            session,
            path,
            reference,
            samples,
            batch=sizes,
            precision=manifest.precision,
            tolerance=TOLERANCES[manifest.precision],
            classifies=manifest.spec.classifies,
            progress=progress,
        )
        return _settle(stage, verdict, source)


def validate(
    artifact: str | Path,
    *,
    weights: str | Path | None = None,
    report: str | Path | None = None,
    threads: int | None = None,
    progress: Progress = silent,
) -> Verdict:
    """The verdict on a file that exists, from the answers in its manifest; needs no torch for ONNX.

    Args:
        artifact: a file that vit-export wrote.
        weights: the checkpoint it came from, to compare with eager PyTorch afresh.
        report: an HTML file for the verdict with its plots.
        threads: of the runtime.
        progress: opened around every stage.

    Raises:
        RequestError: no artifact of ours, or weights that do not fit.
        MissingError: its runtime is not installed, or no sample can be made again here.
    """
    path = Path(artifact)
    session = open_artifact(path, threads)
    manifest = read_manifest(session, path)
    with progress("make the samples again"):
        made = make_samples(manifest.reference.recipes, manifest.spec, manifest.preprocessing)
    reference, source = manifest.reference, Verdict.reference
    if weights is not None:
        with progress("answer in eager PyTorch"):
            reference, source = _afresh(manifest, Path(weights), made)
    verdict = prove(
        session,
        path,
        reference,
        made,
        batch=manifest.batch,
        precision=manifest.precision,
        tolerance=Tolerance(**manifest.tolerance),
        classifies=manifest.spec.classifies,
        progress=progress,
        source=source,
    )
    if len(verdict.not_repeated) == len(made):
        message = f"{path}: none of its samples could be made again here."
        raise MissingError(message, f"install {dict(manifest.versions)}.")
    if report is not None:
        write_page(Path(report), verdict, manifest)
    return verdict


def predict(
    artifact: str | Path, images: Sequence[str | Path], *, top: int = 5, threads: int | None = None
) -> list[Prediction]:
    """The `top` most probable classes of each image file, through the artifact's preprocessing.

    Raises:
        RequestError: no artifact of ours, no classifier, no image.
        MissingError: its runtime is not installed.
        ProofError: an answer is not finite.
    """
    if top < 1:
        raise RequestError(f"top is {top}.", "ask for 1 or more.")
    path = Path(artifact)
    session = open_artifact(path, threads)
    return predict_images(session, read_manifest(session, path), [Path(i) for i in images], top)


def summary(
    model: str = DEFAULT, *, image_size: str | None = None, classes: int | None = None
) -> Summary:
    """The layer table of a preset: layer, output shape, parameters; no weights are made."""
    preset = load_preset(model)
    spec = replace(preset.spec, **overrides_of(preset.spec, image_size, classes))
    return summarize(preset.name, spec)


def models() -> list[tuple[Preset, int]]:
    """Every preset that ships, with its number of parameters."""
    presets = [load_preset(name) for name in preset_names()]
    return [(preset, parameters_of(preset.spec)) for preset in presets]


def doctor() -> list[Health]:
    """What each target finds on this machine."""
    return examine()


def _reference(source: Source, images: Path | None) -> tuple[Reference, Array]:
    from vit_export.vit.reference import reference_of

    names = recipes(source.preprocessing)
    made = make_samples(names, source.vit.spec, source.preprocessing)
    if images is not None:
        more, extra = image_samples(images, source.preprocessing)
        names, made = [*names, *more], np.concatenate([made, extra])
    return reference_of(source.vit, names, made), made


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


def _afresh(manifest: Manifest, weights: Path, samples: Array) -> tuple[Reference, str]:
    from vit_export.vit.reference import reference_of
    from vit_export.vit.weights import read_state_dict, vit_with

    vit = vit_with(manifest.spec, read_state_dict(weights), str(weights))
    return (
        reference_of(vit, manifest.reference.recipes, samples),
        f"eager PyTorch, afresh from {weights.name}",
    )


def _settle(stage: Staged, verdict: Verdict, source: Source) -> Built:
    if verdict.status != "PROVEN":
        kept = stage.reject(to_json(verdict.to_mapping()))
        fix = f"see {kept.name} and {kept.name}.json; {stage.out.name} is as it was."
        raise RejectedError(verdict, fix)
    size = sum(file.stat().st_size for file in stage.folder.iterdir())
    stage.commit()
    return Built(stage.out, size, source.weights_from, source.random, verdict)
