"""The stages between a request and a backend: load, reference answers, lowering, manifest."""

from dataclasses import replace
from pathlib import Path

from vit_export.api.model_manifest import describe_model
from vit_export.api.request import ExportRequest
from vit_export.artifact.manifest import Manifest
from vit_export.artifact.records import BuildSettings
from vit_export.artifact.reference import Reference
from vit_export.backends.interface import check_interface
from vit_export.backends.programs import check_program
from vit_export.checkpoints.load import load
from vit_export.core.packages import find_versions
from vit_export.core.progress import Progress
from vit_export.data.dataset import ImageDataset, open_dataset
from vit_export.model.model import Model
from vit_export.model.score_function import count_exclusive_classes, describe_answer
from vit_export.validation.reading import check_reading
from vit_export.validation.sample_set import SampleSet, make_sample_set
from vit_export.validation.sharpness import check_reference


def load_model(request: ExportRequest, progress: Progress) -> Model:
    """Return the eager model of the request, which its library or the user's module confirmed.

    Raises:
        RequestError: there is no such model, weights or overrides do not fit, the library's own
            model answers something else, or the model does not suit an option of the file.
        MissingError: the library is required and cannot be imported.
    """
    if request.source is not None:
        return _load_graph(request, request.source, progress)
    with progress("load"):
        model = load(
            request.model,
            weights=request.weights,
            seed=request.seed,
            hints=request.hints,
            overrides=request.overrides,
            check=request.check,
            check_reading=check_reading,
            module=request.module,
            batch_size=request.batch.fixed,
        )
    return _check_suits(request, model)


def _load_graph(request: ExportRequest, path: Path, progress: Progress) -> Model:
    from vit_export.api.from_graph import load_graph

    with progress("load"):
        model = load_graph(path, request)
    return _check_suits(request, model)


def _check_suits(request: ExportRequest, model: Model) -> Model:
    """Return the model; raise RequestError unless it suits the options of the file."""
    if model.spec is None:
        check_program(request.backend, request.quantization)
    check_interface(
        request.options,
        model.signature,
        model.preprocessing,
        model.problem_type,
        io_fp16=request.quantization.io_fp16,
    )
    return model


def read_dataset(request: ExportRequest, model: Model, progress: Progress) -> ImageDataset | None:
    """Return the images to measure accuracy on, read once; None if the request has none.

    Raises:
        RequestError: images or labels do not fit the model, or too many images are unreadable.
    """
    return open_dataset(
        request.images,
        model.preprocessing,
        answer=describe_answer(model.signature, model.problem_type),
        classes=count_exclusive_classes(model.signature, model.problem_type),
        names=model.labels,
        progress=progress,
    )


def answer_samples(
    request: ExportRequest, model: Model, dataset: ImageDataset | None, progress: Progress
) -> tuple[Reference, SampleSet]:
    """Return the eager model's answers to the samples of the proof, and the samples.

    Raises:
        ProofError: no file can be proven against these answers.
    """
    from vit_export.validation.reference import compute_reference

    with progress("answer in eager PyTorch"):
        pixels = request.options.get("preprocess") == "graph"
        shape = model.signature.sample_shape
        samples = make_sample_set(shape, model.preprocessing, dataset, pixels=pixels)
        reference = compute_reference(model.module, samples, model.signature)
    check_reference(reference, model.signature)
    return reference, samples


def make_manifest(request: ExportRequest, model: Model, reference: Reference) -> Manifest:
    """Return the manifest of the file, as far as it is known before quantization and build."""
    backend = request.backend
    packages = ("vit-export", *backend.packages, *backend.one_of, "numpy", "pillow")
    return replace(
        describe_model(model, backend.name, reference.without_user_images()),
        spec=model.spec,
        overrides=model.provenance.overrides,
        preset=model.provenance.preset,
        batch=request.batch,
        versions=find_versions(packages),
        settings=BuildSettings(backend.recorded_options(request.options)),
    )
