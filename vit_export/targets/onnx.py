"""ONNX: standard operators only, for any runtime that reads it."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vit_export.errors import BuildError
from vit_export.manifest import KEY, Manifest
from vit_export.presets import preset_names
from vit_export.progress import Progress
from vit_export.targets.base import Option, Target

if TYPE_CHECKING:  # torch is heavy, and listing targets must be light
    from vit_export.vit.lower import LoweredVit


def build(lowered: "LoweredVit", manifest: Manifest, path: Path, progress: Progress) -> None:
    """Writes `lowered` as an ONNX file with the manifest in its metadata."""
    from vit_export.graph.audit import audit
    from vit_export.graph.capture import capture
    from vit_export.graph.optimize import optimize
    from vit_export.graph.save import save
    from vit_export.graph.simplify import simplify

    with progress("capture"):
        model = capture(
            lowered,
            manifest.spec,
            output=manifest.spec.answer,
            opset=int(manifest.settings["opset"]),
            batch=manifest.batch,
        )
    nodes = {"nodes captured": len(model.graph)}
    if manifest.settings["simplify"]:
        with progress("simplify"):
            model = simplify(model)
        nodes["nodes after onnxsim"] = len(model.graph)
    with progress("optimize"):
        changed = optimize(model, str(manifest.settings["flavour"]))
    missing = audit(model, manifest.spec).missing
    if missing and manifest.model in preset_names():  # of ours every fusion is known to happen
        raise BuildError(f"a fusion did not happen: {'; '.join(missing)}.", "report this, please.")
    told = replace(manifest, graph=nodes | changed)
    model.metadata_props[KEY] = told.to_json()
    with progress("write"):
        save(model, path, opset=int(manifest.settings["opset"]))


TARGET = Target(
    name="onnx",
    suffix=".onnx",
    summary="An ONNX file in standard operators, for ONNX Runtime, OpenVINO, TensorRT and others.",
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
