"""ONNX: standard operators only, for any runtime that reads it."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vit_export.errors import BuildError
from vit_export.manifest import KEY
from vit_export.precision import PRECISIONS, check_flavour
from vit_export.presets import preset_names
from vit_export.progress import Progress
from vit_export.targets.base import Job, Option, Target

if TYPE_CHECKING:  # onnx_ir is heavy, and listing targets must be light
    import onnx_ir as ir


def build(job: Job, path: Path, progress: Progress) -> None:
    """Writes the job's module as an ONNX file with the manifest in its metadata."""
    from vit_export.graph.audit import audit
    from vit_export.graph.capture import capture
    from vit_export.graph.optimize import optimize
    from vit_export.graph.save import save
    from vit_export.graph.simplify import simplify

    manifest = job.manifest
    with progress("capture"):
        model = capture(
            job.lowered,
            manifest.spec,
            output=manifest.spec.answer,
            opset=int(manifest.settings["opset"]),
            batch=manifest.batch,
        )
    flavour = str(manifest.settings["flavour"])
    nodes = {"nodes captured": len(model.graph)}
    if manifest.settings["simplify"]:
        with progress("simplify"):
            model = simplify(model)
        nodes["nodes after onnxsim"] = len(model.graph)
    with progress("optimize"):
        changed = optimize(model, flavour)
    missing = audit(model, manifest.spec).missing
    if missing and manifest.model in preset_names():  # of ours every fusion is known to happen
        raise BuildError(f"a fusion did not happen: {'; '.join(missing)}.", "report this, please.")
    if manifest.precision != "fp32":
        with progress(f"reduce to {manifest.precision}"):
            _reduce(model, job, flavour)
    told = replace(manifest, graph=nodes | changed)
    model.metadata_props[KEY] = told.to_json()
    with progress("write"):
        save(model, path, opset=int(manifest.settings["opset"]))


def _reduce(model: "ir.Model", job: Job, flavour: str) -> None:
    from vit_export.quantize.reduce import halve, quantize

    if job.manifest.precision == "fp16":
        halve(model, job.samples, io=job.io_fp16)
    else:
        quantize(model, job.plan, job.manifest.precision, flavour)


def check(precision: str, settings: Mapping[str, Any]) -> None:
    """Nothing, when a graph with these settings can have this precision, and gains by it.

    Raises:
        RequestError: with the reason.
    """
    check_flavour(precision, str(settings["flavour"]), int(settings["opset"]))


TARGET = Target(
    name="onnx",
    suffix=".onnx",
    summary="An ONNX file in standard operators, for ONNX Runtime, OpenVINO, TensorRT and others.",
    precisions=tuple(PRECISIONS),
    check=check,
    packages=("torch", "onnx", "onnx_ir", "onnxscript", "onnxsim", "onnxruntime"),
    options=(
        Option(name="opset", default=20, least=18, most=22, help="Version of the operator set."),
        Option(
            name="flavour",
            flag="for",
            default="portable",
            choices=("portable", "onnxruntime", "openvino", "tensorrt"),
            help="The runtime it is for; onnxruntime brings operators of its own.",
        ),
        Option(name="simplify", default=True, help="Run onnxsim, proven after like all else."),
    ),
    build=build,
)
