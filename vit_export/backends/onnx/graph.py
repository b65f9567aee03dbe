"""Builds the ONNX graph of a job, which is then written, or compiled by TensorRT."""

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from vit_export.artifact.records import Fp16Range, GraphInfo
from vit_export.backends.job import Job
from vit_export.backends.option import Option
from vit_export.core.errors import BuildError
from vit_export.core.progress import Progress
from vit_export.model.fusions import ExpectedFusions
from vit_export.model.vit.presets import list_presets

if TYPE_CHECKING:  # onnx_ir is heavy, and listing backends must be light
    import onnx_ir as ir

    from vit_export.artifact.manifest import Manifest

PACKAGES = ("torch", "onnx", "onnx_ir", "onnxscript", "onnxsim", "onnxruntime")
"""Required packages, by their pip names."""
FLAVOURS = ("portable", "onnxruntime", "openvino", "tensorrt")
"""The runtimes that a graph can be optimized for."""
OPSET = Option(
    name="opset", default=20, minimum=18, maximum=22, help="Version of the ONNX operator set."
)
SIMPLIFY = Option(
    name="simplify", default=True, help="Simplify the graph with onnxsim; the result is proven."
)


def flavour_option(default: str) -> Option:
    """Return the option for the runtime that a graph is optimized for."""
    return Option(
        name="flavour",
        flag="for",
        default=default,
        choices=FLAVOURS,
        help="Runtime to optimize the graph for; onnxruntime uses operators of its own.",
    )


def build_graph(job: Job, progress: Progress) -> tuple["ir.Model", "Manifest"]:
    """Return the ONNX graph of a job in its precision, and the manifest with the graph's record.

    Raises:
        BuildError: a fusion did not happen, or a pass failed.
        ProofError: most of the graph is not in the precision of the manifest.
    """
    from vit_export.graph.audit import audit
    from vit_export.graph.lowered_graph import LoweredGraph
    from vit_export.graph.make_graph import make_graph
    from vit_export.graph.optimize import optimize

    manifest, flavour = job.manifest, str(job.options["flavour"])
    if isinstance(job.lowered, LoweredGraph):
        model, counts = job.lowered.write_graph(), Counter(job.lowered.counts)
        with progress("optimize"):
            counts.update(optimize(model, flavour))
    else:
        model, counts = make_graph(
            job.lowered,
            manifest.signature,
            batch=manifest.batch,
            opset=int(job.options["opset"]),
            simplifies=bool(job.options["simplify"]),
            flavour=flavour,
            general=manifest.spec is None,
            progress=progress,
        )
    manifest = replace(manifest, fusions=_expect_fusions(job))
    missing = audit(model, manifest.expected_fusions).missing
    if missing and manifest.model in list_presets():  # every fusion of these is known to happen
        raise BuildError(f"a fusion did not happen: {'; '.join(missing)}.", "report this, please.")
    fp16_range = None
    if manifest.precision != "fp32":
        with progress(f"reduce to {manifest.precision}"):
            fp16_range = _convert(model, job, flavour)
    graph = GraphInfo.from_mapping(counts, "graph")
    return model, replace(manifest, graph=graph, fp16_range=fp16_range)


def _expect_fusions(job: Job) -> ExpectedFusions | None:
    """Return what the graph of a module should have fused; None for a known family."""
    if job.manifest.spec is not None:
        return None
    from vit_export.graph.lowered_graph import LoweredGraph
    from vit_export.model.program.fusions import count_fusions
    from vit_export.model.program.lowered import LoweredProgram

    if isinstance(job.lowered, LoweredGraph):
        return job.lowered.fusions
    if not isinstance(job.lowered, LoweredProgram):
        raise TypeError(f"{job.manifest.model} is a known Vision Transformer.")
    return count_fusions(job.lowered.program)


def _convert(model: "ir.Model", job: Job, flavour: str) -> Fp16Range | None:
    """Convert the graph in place; return the range of an fp16 graph."""
    from vit_export.quantization.convert import convert_to_bf16, convert_to_fp16, quantize

    if job.manifest.precision == "fp16":
        return convert_to_fp16(model, job.samples, io=job.io_fp16)
    if job.manifest.precision == "bf16":
        convert_to_bf16(model)
    else:
        quantize(model, job.plan, job.manifest.precision, flavour)
    return None
