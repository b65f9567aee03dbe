"""What a file is, told by its content: a checkpoint that could be exported, or an artifact."""

import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vit_export.artifact.manifest import Manifest
from vit_export.backends.onnx.session import MAGIC as ONNX_MAGIC
from vit_export.backends.open import open_artifact, read_manifest
from vit_export.backends.tensorrt.compatibility import check_loads
from vit_export.backends.tensorrt.sidecar import is_engine, read_sidecar
from vit_export.backends.torchscript.session import EXTRA_FILE
from vit_export.core.errors import RequestError, VitExportError
from vit_export.core.staging import data_files
from vit_export.model.vit.presets import Preset, load_preset
from vit_export.model.vit.spec import VitSpec
from vit_export.model.vit.summary import count_parameters

if TYPE_CHECKING:  # onnx is heavy, and a checkpoint is inspected without it
    from vit_export.graph.audit import Audit

NO_CHECKPOINT = {".onnx", ".engine"}
"""What no checkpoint is called, so that what is damaged is told as what it should be."""
UNAUDITED = {"operators": "not looked at: onnx_ir is not installed here"}
"""Of an ONNX file on a device, where inspect tells what its manifest tells."""


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """A checkpoint or an artifact, unexported."""

    path: str
    kind: Literal["checkpoint", "artifact"]
    family: str
    """Whose names a checkpoint has, or the target of an artifact."""
    parameters: int
    spec: Mapping[str, Any] | None
    """None where `missing` says what it takes to complete it."""
    preprocessing: Mapping[str, Any] | None
    labels: int
    """How many classes have a name."""
    preprocessing_note: str = ""
    """What of the preprocessing is assumed or rescaled."""
    unused: Mapping[str, str] = field(default_factory=dict)
    """Tensors that the model has no use for, with the reason."""
    missing: tuple[str, ...] = ()
    """What has to be said before it can be exported, in words."""
    size_bytes: int = 0
    """Of the files of an artifact."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Where an artifact comes from: versions, weights."""
    audit: "Audit | None" = None
    """Of an ONNX file; None where onnx_ir is not installed."""


def inspect_path(
    path: Path, model: str | None = None, told: Mapping[str, Any] | None = None
) -> Inspection:
    """What `path` holds; a checkpoint is completed by a preset and by what is `told` of it.

    Raises:
        RequestError: neither a checkpoint of a known family nor an artifact of ours.
    """
    if not path.exists():
        raise RequestError(f"{path}: no such file or folder.", "check the path.")
    if not _is_artifact(path):
        return _checkpoint(path, None if model is None else load_preset(model), dict(told or {}))
    if model is not None or told:
        raise RequestError(f"{path} is an artifact, and tells all of itself.", "name it alone.")
    return _artifact(path)


def _is_artifact(path: Path) -> bool:
    """Engines and ONNX by first bytes or name; of the zip files the one that carries our manifest.

    Of other TorchScript none is opened: loading one may execute what it says.
    """
    if not path.is_file():
        return False
    if is_engine(path) or path.suffix in NO_CHECKPOINT:
        return True
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            return file.read(1) == ONNX_MAGIC and path.suffix != ".safetensors"
    try:
        with zipfile.ZipFile(path) as archive:
            inside = [name.partition("/")[2] for name in archive.namelist()]
    except Exception:  # noqa: BLE001 damaged, and told so by the reader of checkpoints
        return False
    return f"extra/{EXTRA_FILE}" in inside


def _artifact(path: Path) -> Inspection:
    engine = is_engine(path)
    manifest = read_sidecar(path) if engine else read_manifest(open_artifact(path), path)
    steps = manifest.preprocessing
    files = [path, *data_files(path)]
    audit = _audit(path, manifest.require_spec()) if manifest.target == "onnx" else None
    return Inspection(
        path=str(path),
        kind="artifact",
        family=f"{manifest.target}, {manifest.precision}, batch {manifest.batch}",
        parameters=count_parameters(manifest.require_spec()),
        spec=asdict(manifest.require_spec()),
        preprocessing=steps.to_mapping() if steps else None,
        labels=len(manifest.labels),
        size_bytes=sum(file.stat().st_size for file in files),
        metadata={
            "model": manifest.model,
            "weights": manifest.weights_from,
            "weights sha256": manifest.weights_sha256,
            **manifest.versions,
            **_graph(manifest),
            **_fp16_range(manifest),
            **_engine(path if engine else None, manifest),
            **(UNAUDITED if manifest.target == "onnx" and audit is None else {}),
        },
        audit=audit,
    )


def _graph(manifest: Manifest) -> dict[str, str]:
    counts = manifest.graph.to_mapping() if manifest.graph else {}
    return {f"graph: {name}": f"{count:,}" for name, count in counts.items()}


def _fp16_range(manifest: Manifest) -> dict[str, str]:
    values = asdict(manifest.fp16_range) if manifest.fp16_range else {}
    return {f"fp16: {name}": str(value) for name, value in values.items()}


def _engine(path: Path | None, manifest: Manifest) -> dict[str, str]:
    """What is known of an engine, or of the one that a graph was made for."""
    told = {f"engine: {name}": in_short(value) for name, value in manifest.engine.items()}
    if path is None:
        return told
    try:
        check_loads(path, manifest.engine)
        loads = "yes"
    except VitExportError as error:
        loads = f"no: {error.message}"
    run = "yes" if manifest.engine_run else "no"
    return told | {"engine: run where it was built": run, "engine: loads here": loads}


def in_short(value: Any) -> str:
    """A value of the manifest in a line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {in_short(one)}" for name, one in value.items())
    if isinstance(value, list):
        return ", ".join(map(in_short, value)) or "-"
    return "-" if value in {None, ""} else str(value)


def _audit(path: Path, spec: VitSpec) -> "Audit | None":
    """What stands in an ONNX file; None on a device, which has nothing that takes one apart."""
    if find_spec("onnx_ir") is None:
        return None
    import onnx_ir

    from vit_export.graph.audit import audit

    return audit(onnx_ir.load(path), spec)


def _checkpoint(path: Path, preset: Preset | None, told: dict[str, Any]) -> Inspection:
    from vit_export.checkpoints.families import family_of
    from vit_export.checkpoints.files import read_checkpoint
    from vit_export.checkpoints.from_file import from_checkpoint

    checkpoint = read_checkpoint(path)
    family = family_of(checkpoint.tensors, str(path))
    renamed = family.rename(checkpoint.tensors)
    found = Inspection(
        path=str(path),
        kind="checkpoint",
        family=family.name,
        parameters=sum(tensor.numel() for tensor in renamed.tensors.values()),
        spec=None,
        preprocessing=None,
        labels=0,
        unused=renamed.unused,
    )
    try:
        source = from_checkpoint(checkpoint, preset, told)
    except RequestError as error:
        return replace(found, missing=(f"{error.message} Fix: {error.fix}",))
    steps = source.preprocessing
    return replace(
        found,
        spec=asdict(source.vit.spec),
        preprocessing_note=source.preprocessing_note,
        preprocessing=steps.to_mapping() if steps else None,
        labels=len(source.labels),
    )
