"""The stage between a model and a backend: lowered, checked, and ready to be quantized."""

from pathlib import Path
from typing import TYPE_CHECKING

from vit_export.api.request import ExportRequest
from vit_export.artifact.batch import Batch
from vit_export.artifact.precision import UNQUANTIZED
from vit_export.artifact.reference import Reference
from vit_export.backends.module_session import ModuleSession
from vit_export.core.errors import ProofError, RequestError
from vit_export.core.numerics import Array
from vit_export.core.progress import Progress
from vit_export.model.lower import lower
from vit_export.model.model import Model
from vit_export.model.score_function import count_exclusive_classes
from vit_export.validation.expectation import Expectation
from vit_export.validation.samples import digest
from vit_export.validation.tolerances import TOLERANCES
from vit_export.validation.validate import validate
from vit_export.validation.verdict import RejectedError

if TYPE_CHECKING:  # torch is heavy, and a bad request is refused without it
    from vit_export.model.lower import Lowered
    from vit_export.model.opaque import OpaqueModule

STAGE_SAMPLES = [0, 3]
"""Positions of the samples on which the lowered module is checked: two of different kinds."""
STAGE_BATCH = Batch(1, 1, 2)
"""One image and two images. The saved file is validated on all samples and batch sizes."""


def lower_and_check(
    request: ExportRequest, model: Model, reference: Reference, samples: Array, progress: Progress
) -> "Lowered | OpaqueModule":
    """Return the export-friendly module, after checking that it answers as the eager one.

    Raises:
        RejectedError: it answers something else.
        ProofError: the model itself changed since it answered.
    """
    with progress("lower"):
        unfold = "patches" in request.quantization.include
        lowered = lower(model, unfold=unfold, batch_size=request.batch.fixed)
        inputs = samples[STAGE_SAMPLES]
        digests = tuple(map(digest, inputs))
        expectation = Expectation.make(
            reference,
            model.signature,
            TOLERANCES["fp32"],
            batch=_choose_stage_batch(request, model),
            precision="fp32",
            classifies=count_exclusive_classes(model.signature, model.problem_type) is not None,
        ).select(STAGE_SAMPLES, digests)
        verdict = validate(ModuleSession(lowered), Path("the lowered module"), expectation, inputs)
    if not verdict.accepted:
        _check_unchanged(model, expectation, inputs)
        raise RejectedError(verdict, "report this with the model's spec: a rewrite is wrong.")
    return lowered


def expose_layers(
    request: ExportRequest, model: Model, lowered: "Lowered | OpaqueModule", progress: Progress
) -> "Lowered":
    """Return a module whose layers can be quantized, if the request quantizes any.

    A lowered Vision Transformer has such layers; the program of any other module has them once it
    is a graph. The graph of another tool always becomes one.

    Raises:
        BuildError: the exporter or a pass failed.
    """
    from vit_export.model.opaque import OpaqueModule
    from vit_export.model.program.lowered import LoweredProgram

    if isinstance(lowered, OpaqueModule):
        return _expose_graph(request, model, progress)
    if request.quantization.precision in UNQUANTIZED or not isinstance(lowered, LoweredProgram):
        return lowered
    from vit_export.graph.lowered_graph import LoweredGraph
    from vit_export.graph.make_graph import make_graph
    from vit_export.model.program.fusions import count_fusions

    graph, counts = make_graph(
        lowered,
        model.signature,
        batch=request.batch,
        opset=int(request.options["opset"]),
        simplifies=bool(request.options["simplify"]),
        flavour="portable",
        general=True,
        progress=progress,
    )
    unfold = "patches" in request.quantization.include
    return LoweredGraph(graph, counts, count_fusions(lowered.program), unfold=unfold)


def _expose_graph(request: ExportRequest, model: Model, progress: Progress) -> "Lowered":
    """Return the graph of another tool after all passes.

    Raises:
        RequestError: its kind of file can't be built from a graph.
        BuildError: a pass failed, or the graph can't be converted to the requested opset.
    """
    from vit_export.graph.foreign import read_graph
    from vit_export.graph.lowered_graph import LoweredGraph
    from vit_export.graph.make_graph import improve_graph

    if request.source is None or "opset" not in request.options:
        message = f"{request.backend.name} builds from PyTorch, and takes no --from."
        raise RequestError(message, "take vit-export onnx.")
    with progress("read"):
        graph = read_graph(request.source, model.signature, int(request.options["opset"]))
    graph, counts = improve_graph(
        graph,
        simplifies=bool(request.options["simplify"]),
        flavour="portable",
        general=True,
        progress=progress,
    )
    unfold = "patches" in request.quantization.include
    return LoweredGraph(graph, counts, unfold=unfold)


def _choose_stage_batch(request: ExportRequest, model: Model) -> Batch:
    """Return the batch sizes of the check: a program of one batch size takes no other."""
    is_fixed = model.spec is None and request.batch.fixed is not None
    return request.batch if is_fixed else STAGE_BATCH


def _check_unchanged(model: Model, expectation: Expectation, inputs: Array) -> None:
    """Raise ProofError if the eager model no longer answers as it did."""
    verdict = validate(ModuleSession(model.module), Path("the model"), expectation, inputs)
    if not verdict.accepted:
        message = f"{model.name} changed while it was exported: it answers something else now."
        raise ProofError(message, "export it again, when nothing else writes its weights.")
