"""ONNX: standard operators only, for any runtime that reads it."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vit_export.artifact.manifest import INTERFACE_KEY, KEY, Manifest
from vit_export.artifact.precision import PRECISIONS, QuantizationRequest, check_flavour
from vit_export.backends.base import Job, Target
from vit_export.backends.interface import INTERFACE
from vit_export.backends.onnx.graph import OPSET, PACKAGES, SIMPLIFY, finished_graph, flavour_option
from vit_export.core.errors import RequestError
from vit_export.core.progress import Progress
from vit_export.data.pillow_resize import columns_may_come_first

if TYPE_CHECKING:  # onnx_ir is heavy, and listing targets must be light
    import onnx_ir as ir


def build(job: Job, path: Path, progress: Progress) -> None:
    """Writes the job's module as an ONNX file with the manifest in its metadata."""
    from vit_export.graph.save import save

    model, manifest = finished_graph(job, progress)
    _finish(model, manifest)
    model.metadata_props.update({KEY: manifest.to_json(), INTERFACE_KEY: manifest.interface})
    with progress("write"):
        save(model, path, opset=int(job.settings["opset"]))


def _finish(model: "ir.Model", manifest: Manifest) -> None:
    """Puts before and behind the model what the file is to have there."""
    from vit_export.graph.heads import answer_with
    from vit_export.graph.resize import fold_normalization, take_pixels

    steps, plain = manifest.preprocessing, manifest.precision == "fp32"
    if manifest.takes_pixels and steps is not None:
        if plain:  # of fewer bits the kernel would lose some: 1/255 of it may be no fp16 number
            fold_normalization(model, steps)
        first = columns_may_come_first(manifest.versions["pillow"])
        take_pixels(model, steps, columns_first=first, normalizes=not plain)
    if manifest.head != "logits":
        answer_with(model, manifest.head)


def check(asked: QuantizationRequest, settings: Mapping[str, Any]) -> None:
    """Nothing, when a graph with these settings can have what was asked, and gains by it.

    Raises:
        RequestError: with the reason.
    """
    check_flavour(asked, str(settings["flavour"]), int(settings["opset"]))
    if settings["preprocess"] == "graph" and settings["flavour"] == "tensorrt":
        message = "TensorRT has no 64-bit floats, in which Pillow makes its weights."
        raise RequestError(message, "take --preprocess none with --for tensorrt.")


TARGET = Target(
    name="onnx",
    suffix=".onnx",
    summary="An ONNX file in standard operators, for ONNX Runtime, OpenVINO, TensorRT and others.",
    precisions=tuple(name for name in PRECISIONS if name != "bf16"),
    check=check,
    packages=PACKAGES,
    options=(OPSET, flavour_option("portable"), SIMPLIFY, *INTERFACE),
    build=build,
)
