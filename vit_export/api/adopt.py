"""A file that another tool wrote, with the manifest that it would have if it were ours.

Such a file carries no claims. The user says what it was exported from, and everything else follows
from that model and from the inputs and outputs of the file.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from vit_export.api.model_manifest import describe_model
from vit_export.api.validation_request import ValidationRequest
from vit_export.artifact.manifest import Manifest
from vit_export.artifact.reference import Reference
from vit_export.artifact.tolerance import Tolerance
from vit_export.backends.open import find_backend_of
from vit_export.backends.records import FileInterface
from vit_export.backends.session import Session
from vit_export.checkpoints.load import load
from vit_export.core.errors import RequestError
from vit_export.core.progress import Progress
from vit_export.model.model import Model
from vit_export.model.signature import IMAGE_AXES
from vit_export.validation.claims import check_min_snr
from vit_export.validation.match_tensors import (
    MatchedTensors,
    choose_outputs,
    match_tensors,
    read_batch,
    read_sample_shape,
)
from vit_export.validation.reading import check_reading
from vit_export.validation.sample_set import SampleSet
from vit_export.validation.samples import choose_recipes, digest, draw_recipes, make_samples
from vit_export.validation.sharpness import check_reference
from vit_export.validation.tolerances import combine, name_least_exact, raise_to


@dataclass(frozen=True, kw_only=True, eq=False)
class AdoptedFile:
    """A file of another tool beside the model that it should be."""

    session: Session
    """The file, open so that it answers the outputs of the manifest's signature."""
    model: Model
    manifest: Manifest
    """The manifest that the file would have; its tensors have the file's own names."""
    samples: SampleSet
    arithmetic: Collection[str]
    """The precisions in which it computes."""
    caveats: tuple[str, ...]
    """What is not compared, a phrase each: outputs, and sizes besides the model's own."""


def adopt(
    path: Path, request: ValidationRequest, threads: int | None, progress: Progress
) -> AdoptedFile:
    """Return the file at `path` beside the model that the user says it was exported from.

    Raises:
        RequestError: nobody says what it was exported from, only our own files of its kind can be
            judged, its tensors are not those of the model, or the model can't be built.
        ProofError: no file can be proven against the model's answers.
    """
    open_outputs = find_backend_of(path).open_outputs
    if open_outputs is None:
        message = f"{path} carries no manifest of vit-export."
        raise RequestError(message, "give a file that vit-export wrote, or an ONNX file.")
    if not request.origin:
        message = f"{path} carries no manifest of vit-export, so that nothing says what it is."
        raise RequestError(message, "give --weights or --module: what it was exported from.")
    _, interface = open_outputs(path, threads, ())
    with progress("load"):
        model = _load(path, interface, request)
    matched = match_tensors(str(path), interface, model.signature, request.output_names)
    with progress("answer in eager PyTorch"):
        samples, reference = _answer(model, request.seed)
    session, _ = open_outputs(path, threads, [one.name for one in matched.signature.outputs])
    arithmetic = find_backend_of(path).find_precisions(path) or {"fp32"}
    manifest = replace(
        describe_model(model, find_backend_of(path).name, reference),
        signature=matched.signature,
        batch=matched.batch,
        precision=name_least_exact(arithmetic),
        tolerance=_choose_tolerance(arithmetic, request.min_snr),
    )
    return AdoptedFile(
        session=session,
        model=model,
        manifest=manifest,
        samples=samples,
        arithmetic=arithmetic,
        caveats=_list_caveats(interface, matched),
    )


def _list_caveats(interface: FileInterface, matched: MatchedTensors) -> tuple[str, ...]:
    skipped = [f"{name} not compared" for name in matched.unmatched]
    if None not in interface.inputs[0].shape[1:]:
        return tuple(skipped)
    shape = "x".join(map(str, matched.signature.sample_shape))
    return (*skipped, f"no size but {shape} compared")


def _load(path: Path, interface: FileInterface, request: ValidationRequest) -> Model:
    """Return the eager model at the size that the file takes, which its library confirmed."""
    shape = read_sample_shape(str(path), interface)
    fixed = tuple(side for side in shape if side is not None)
    overrides, module = request.overrides, request.module
    if module is not None and module.sample_shape is None and len(fixed) == len(shape):
        module = replace(module, sample_shape=fixed)
    if module is None or request.memory is not None:
        size = f"{shape[1]}x{shape[2]}" if len(fixed) == len(shape) == IMAGE_AXES else None
        overrides = replace(
            overrides,
            image_size=overrides.image_size or size,
            outputs=overrides.outputs or choose_outputs(interface),
        )
    build = partial(
        load,
        request.memory or request.preset,
        weights=request.weights,
        hints=request.hints,
        check=request.check,
        check_reading=check_reading,
        module=module,
        batch_size=read_batch(interface).fixed,
    )
    try:
        return build(overrides=overrides)
    except RequestError:
        if request.memory is None or request.overrides.outputs is not None:
            raise
        return build(overrides=replace(overrides, outputs=None))  # it is of no known family


def _answer(model: Model, seed: int | None) -> tuple[SampleSet, Reference]:
    """Return the samples of a proof, some drawn from `seed`, and the model's answers to them."""
    from vit_export.validation.reference import compute_reference

    recipes = choose_recipes(model.preprocessing)
    recipes += draw_recipes(seed or 0, model.preprocessing, pixels=False)
    inputs = make_samples(recipes, model.signature.sample_shape, model.preprocessing)
    samples = SampleSet(recipes=tuple(recipes), inputs=inputs, file_inputs=inputs)
    reference = compute_reference(model.module, samples, model.signature)
    check_reference(reference, model.signature)
    return samples, replace(reference, digests=tuple(map(digest, inputs)))


def _choose_tolerance(arithmetic: Collection[str], min_snr: float | None) -> Tolerance:
    """Return how far a file may be off that computes in these precisions."""
    tolerance = combine(arithmetic)
    if min_snr is None:
        return tolerance
    check_min_snr(min_snr, tolerance.least_snr_db or 0)
    return raise_to(tolerance, min_snr, "the minimum that --min-snr sets")
