"""ONNX: standard operators only, for any runtime that reads it."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vit_export.artifact.manifest import INTERFACE_KEY, KEY, Manifest
from vit_export.artifact.precision import PRECISIONS, QuantizationRequest, check_flavour
from vit_export.backends.base import Backend
from vit_export.backends.interface import INTERFACE
from vit_export.backends.job import Job
from vit_export.backends.onnx.arithmetic import find_precisions
from vit_export.backends.onnx.content import read_content, read_metadata
from vit_export.backends.onnx.data_files import check_data_files
from vit_export.backends.onnx.graph import OPSET, PACKAGES, SIMPLIFY, build_graph, flavour_option
from vit_export.backends.onnx.runtimes import list_other_runtimes
from vit_export.backends.onnx.session import MAGIC, OnnxSession
from vit_export.backends.onnx.taps import OnnxTaps
from vit_export.backends.onnx.tensor_names import find_wrong_names
from vit_export.backends.onnx.values import OnnxValues
from vit_export.backends.records import Description, FileInterface, ModuleNames
from vit_export.backends.session import Session, parse_manifest
from vit_export.core.errors import RequestError
from vit_export.core.int8_sums import FITS, FITS_KEY
from vit_export.core.progress import Progress
from vit_export.core.staging import data_files
from vit_export.data.pillow_resize import columns_may_come_first

if TYPE_CHECKING:  # onnx_ir is heavy, and listing targets must be light
    import onnx_ir as ir


UNAUDITED = {"operators": "not audited: onnx_ir is not installed here"}
"""What `inspect` says on a device, where it shows the manifest alone."""


def build(job: Job, path: Path, progress: Progress) -> Manifest:
    """Write the job's module as an ONNX file with the manifest in its metadata."""
    from vit_export.graph.saturation import find_saturating, is_quantized
    from vit_export.graph.save import save

    model, manifest = build_graph(job, progress)
    _add_interface(model, manifest, str(job.options["flavour"]))
    model.metadata_props.update({KEY: manifest.to_json(), INTERFACE_KEY: manifest.interface})
    if is_quantized(model.graph) and not find_saturating(model.graph):
        model.metadata_props[FITS_KEY] = FITS
    with progress("write"):
        save(model, path, opset=int(job.options["opset"]))
    return manifest


def _add_interface(model: "ir.Model", manifest: Manifest, flavour: str) -> None:
    """Add the preprocessing and the output format that the manifest names to the graph."""
    from vit_export.graph.heads import append_head
    from vit_export.graph.resize import fold_normalization, take_pixels

    preprocessing = manifest.preprocessing
    if manifest.takes_pixels and preprocessing is not None:
        # with fewer bits, a weight divided by 255 may be lost
        folds = manifest.precision == "fp32" and manifest.spec is not None
        if folds:
            fold_normalization(model, preprocessing)
        first = columns_may_come_first(manifest.versions["pillow"])
        take_pixels(
            model,
            preprocessing,
            columns_first=first,
            normalizes=not folds,
            in_integers=flavour == "openvino",
        )
    if manifest.head != "logits":
        append_head(model, manifest.output_head)


def check_request(request: QuantizationRequest, options: Mapping[str, Any]) -> None:
    """Raise RequestError unless a graph with these options can have the requested precision."""
    check_flavour(request, str(options["flavour"]), int(options["opset"]))
    if options["preprocess"] == "graph" and options["flavour"] == "tensorrt":
        message = "TensorRT has no 64-bit floats, in which Pillow computes its resize weights."
        raise RequestError(message, "take --preprocess none with --for tensorrt.")


def recognize(path: Path) -> bool:
    """Return whether a file begins as an ONNX model does."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def is_artifact(path: Path) -> bool:
    """Return whether a file is not called .safetensors: such files may begin with the same byte."""
    return path.suffix != ".safetensors"


def read_own_manifest(path: Path) -> Manifest:
    """Return the manifest in a file's metadata; the weights beside it have to be unchanged."""
    check_data_files(path)
    return parse_manifest(read_metadata(path).get(KEY), path)


def describe(path: Path, manifest: Manifest) -> Description:
    """Return the audit of the graph, where onnx_ir is installed."""
    if find_spec("onnx_ir") is None:
        return Description(metadata=UNAUDITED)
    import onnx_ir

    from vit_export.graph.audit import audit

    try:
        return Description(audit=audit(onnx_ir.load(path), manifest.expected_fusions))
    except Exception as error:  # noqa: BLE001 a foreign graph makes its reader raise anything
        reason = str(error).partition("\n")[0]
        message = f"{path} holds another graph than its manifest says: {reason}"
        raise RequestError(message, "give a file that vit-export wrote.") from None


def describe_foreign(path: Path) -> Description | None:
    """Return the tensors and the audit of another tool's graph; None for a file of ours."""
    if KEY in read_metadata(path):
        return None
    from vit_export.backends.onnx.foreign import describe_graph

    return describe_graph(path)


def open_taps(path: Path, names: ModuleNames, threads: int | None) -> OnnxTaps:
    """Return taps on an ONNX file: its nodes are named after their modules."""
    return OnnxTaps(path, names.modules, threads)


def open_outputs(
    path: Path, threads: int | None, outputs: Sequence[str]
) -> tuple[Session, FileInterface]:
    """Open an ONNX file of any tool, so that it answers the named outputs, or all of them."""
    session = OnnxSession(path, threads, outputs)
    return session, session.interface


ONNX = Backend(
    name="onnx",
    title="ONNX",
    suffix=".onnx",
    summary="An ONNX file in standard operators, for ONNX Runtime, OpenVINO, TensorRT and others.",
    precisions=tuple(name for name in PRECISIONS if name != "bf16"),
    program_precisions=tuple(name for name in PRECISIONS if name != "bf16"),
    packages=PACKAGES,
    runs_emulated=True,
    options=(OPSET, flavour_option("portable"), SIMPLIFY, *INTERFACE),
    check_request=check_request,
    build=build,
    recognize=recognize,
    is_artifact=is_artifact,
    check_built=find_wrong_names,
    find_precisions=lambda path: find_precisions(read_content(path)),
    read_own_manifest=read_own_manifest,
    open=OnnxSession,
    other_runtimes=list_other_runtimes,
    companions=data_files,
    describe=describe,
    describe_foreign=describe_foreign,
    open_outputs=open_outputs,
    open_taps=open_taps,
    open_values=OnnxValues,
)
