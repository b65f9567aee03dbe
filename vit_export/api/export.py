"""The way from a request to a proven file: every stage, in its order, and nothing else."""

import gc

from vit_export.api.accept import accept, validate_staged
from vit_export.api.lowering import expose_layers, lower_and_check
from vit_export.api.quantize import QuantizationResult, quantize
from vit_export.api.request import ExportRequest
from vit_export.api.result import ExportResult, Origin
from vit_export.api.stages import (
    answer_samples,
    load_model,
    make_manifest,
    read_dataset,
)
from vit_export.artifact.manifest import Manifest
from vit_export.artifact.reference import Reference
from vit_export.backends.job import Job
from vit_export.core.numerics import Array
from vit_export.core.progress import Progress, silent
from vit_export.core.staging import Staging, stage_file
from vit_export.data.dataset import ImageDataset
from vit_export.model.model import Model
from vit_export.quantization.plots import write_search_plot
from vit_export.validation.accuracy import AccuracyEvaluation


def export(request: ExportRequest, progress: Progress = silent) -> ExportResult:
    """Build the file of a request, and prove it against eager PyTorch before it takes its name.

    Raises:
        RequestError: the model can't be exported as the request says.
        BuildError: the file could not be built or written.
        RejectedError: it does not answer as the model does; it is kept as OUT.rejected.
    """
    model = load_model(request, progress)
    dataset = read_dataset(request, model, progress)
    tokens = model.spec.tokens if model.spec else None
    with AccuracyEvaluation(dataset, tokens) as evaluation, stage_file(request.out) as stage:
        reference, samples = answer_samples(request, model, dataset, progress)
        evaluation.run_eager(model.module, progress)
        origin, manifest = _build(
            request, model, stage, (reference, samples.inputs, dataset), progress
        )
        del model
        gc.collect()  # the weights are in the file: memory need not hold them twice while it runs
        fingerprint = stage.fingerprint()
        verdict = validate_staged(
            stage,
            request,
            manifest,
            (reference, samples.file_inputs),
            evaluation,
            progress=progress,
        )
        return accept(stage, request, verdict, origin, fingerprint)


def _build(
    request: ExportRequest,
    model: Model,
    stage: Staging,
    expected: tuple[Reference, Array, ImageDataset | None],
    progress: Progress,
) -> tuple[Origin, Manifest]:
    """Lower, quantize and write the staged file; return its origin and its manifest."""
    reference, samples, dataset = expected
    manifest = make_manifest(request, model, reference)
    lowered = lower_and_check(request, model, reference, samples, progress)
    lowered = expose_layers(request, model, lowered, progress)
    quantized = quantize(lowered, request, manifest, samples, progress)
    if request.quantization.plot is not None and quantized.search is not None:
        write_search_plot(request.quantization.plot, quantized.search)
    job = Job(
        lowered=lowered,
        manifest=quantized.manifest,
        plan=quantized.plan,
        samples=samples,
        io_fp16=request.quantization.io_fp16,
        options=request.options,
    )
    manifest = request.backend.build(job, stage.file, progress)
    return _make_origin(model, quantized, dataset), manifest


def _make_origin(
    model: Model, quantized: QuantizationResult, dataset: ImageDataset | None
) -> Origin:
    return Origin(
        weights_from=model.provenance.weights_from,
        random_weights=model.provenance.random_weights,
        unused=dict(model.provenance.unused),
        preprocessing=model.image_notes,
        assumed=dict(model.assumed),
        calibration="; ".join(quantized.notes(dataset)),
        search=quantized.search,
        kept=dict(quantized.kept),
    )
