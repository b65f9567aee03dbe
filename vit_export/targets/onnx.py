"""ONNX: standard operators only, for any runtime that reads it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vit_export.manifest import KEY
from vit_export.precision import PRECISIONS, check_flavour
from vit_export.progress import Progress
from vit_export.targets.base import Job, Target
from vit_export.targets.graph import OPSET, PACKAGES, SIMPLIFY, finished_graph, flavour_option


def build(job: Job, path: Path, progress: Progress) -> None:
    """Writes the job's module as an ONNX file with the manifest in its metadata."""
    from vit_export.graph.save import save

    made = finished_graph(job, progress)
    made.model.metadata_props[KEY] = made.manifest.to_json()
    with progress("write"):
        save(made.model, path, opset=int(job.settings["opset"]))


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
    precisions=tuple(name for name in PRECISIONS if name != "bf16"),
    check=check,
    packages=PACKAGES,
    options=(OPSET, flavour_option("portable"), SIMPLIFY),
    build=build,
)
