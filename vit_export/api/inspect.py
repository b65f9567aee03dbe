"""Describes a file by its content: a checkpoint that could be exported, or an artifact."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vit_export.api.artifact_metadata import collect_metadata
from vit_export.artifact.manifest import Manifest
from vit_export.backends import BACKENDS
from vit_export.backends.base import Backend
from vit_export.backends.open import find_backend_of, recognize
from vit_export.backends.records import Description
from vit_export.checkpoints.hints import CheckpointHints
from vit_export.core.errors import RequestError
from vit_export.core.staging import data_files
from vit_export.model.signature import ProblemType
from vit_export.model.vit.presets import Preset, load_preset
from vit_export.model.vit.summary import count_parameters
from vit_export.validation.tolerances import name_least_exact

if TYPE_CHECKING:  # onnx is heavy, and a checkpoint is inspected without it
    from vit_export.graph.audit import Audit


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What a checkpoint or an artifact holds."""

    path: str
    kind: Literal["checkpoint", "artifact"]
    family: str
    """The family of a checkpoint, or an artifact's target, precision and batch."""
    parameters: int | None
    """Number of parameters of the model; None where nothing records it."""
    spec: Mapping[str, Any] | None
    """Fields of the model's spec; None for a checkpoint that lacks what `missing` lists, and for a
    model of no known family."""
    preprocessing: Mapping[str, Any] | None
    labels: int
    """Number of classes that have a name."""
    problem_type: ProblemType | None = None
    """What the logits are for; None for a model without classes."""
    preprocessing_note: str = ""
    """A note on the preprocessing: that it is assumed, or adapted to another image size."""
    assumed: Mapping[str, Any] = field(default_factory=dict)
    """What is assumed about a checkpoint, or was about that of an artifact."""
    unused: Mapping[str, str] = field(default_factory=dict)
    """Tensors that the model does not use, each with the reason."""
    missing: tuple[str, ...] = ()
    """What the user has to add before a checkpoint can be exported, one sentence each."""
    size_bytes: int = 0
    """Size of all files of an artifact; 0 for a checkpoint."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Where an artifact comes from: model, weights, versions, and how it was built."""
    audit: "Audit | None" = None
    """What an ONNX graph is made of; None for other files and without onnx_ir."""


def inspect(
    path: str | Path,
    *,
    model: str | None = None,
    heads: int | None = None,
    activation: str | None = None,
    pool: str | None = None,
    norm_eps: float | None = None,
    trained_size: str | None = None,
    arch: str | None = None,
    prefix: str | None = None,
    head_from: str | None = None,
    base: str | Path | None = None,
    strict: bool = False,
    problem_type: ProblemType | None = None,
) -> Inspection:
    """Describe a checkpoint or an artifact, without exporting anything.

    Args:
        path: a checkpoint (file or folder), or a file that vit-export wrote. The options below are
            for checkpoints.
        model: a preset of the same architecture, for what the checkpoint does not record.
        heads: the number of attention heads, if the checkpoint does not record it.
        activation: `gelu`, `gelu_tanh`, `quick_gelu` or `swiglu`, if the checkpoint does not
            record it.
        pool: a value of `VitSpec.pool`, if the model does not pool as its family does.
        norm_eps: the epsilon of the LayerNorms, if it is not the family's.
        trained_size: "HxW" of the training images, if they were not square.
        arch: the library's own model, `timm:NAME` or `transformers:CLASS`.
        prefix: prefix of the tensors to read, such as "student."; the others are left out.
        head_from: name of the module whose tensors are the classifier.
        base: the checkpoint that an adapter (LoRA) belongs to.
        strict: whether what would be assumed is missing.
        problem_type: `single_label`, `multi_label` or `regression`, if no config.json says it.

    Raises:
        RequestError: it is neither a checkpoint of a known family nor a file of vit-export.
        MissingError: the package that reads such an artifact is not installed.
    """
    file = Path(path)
    hints = CheckpointHints.select(locals())
    if not file.exists():
        raise RequestError(f"{file}: no such file or folder.", "check the path.")
    if not _is_artifact(file):
        return _inspect_checkpoint(file, None if model is None else load_preset(model), hints)
    if model is not None or hints.list_options():
        message = f"{file} is an artifact, which records everything itself."
        raise RequestError(message, "name it alone.")
    return _inspect_artifact(file)


def _is_artifact(path: Path) -> bool:
    """Return whether a file is an artifact by its content, or has a suffix of artifacts only.

    A damaged file with such a suffix is then reported as a damaged artifact.
    """
    if not path.is_file():
        return False
    backend = recognize(path)
    if backend is not None and backend.is_artifact(path):
        return True
    return path.suffix in {one.suffix for one in BACKENDS.values() if one.owns_suffix}


def _inspect_artifact(path: Path) -> Inspection:
    backend = find_backend_of(path)
    foreign = backend.describe_foreign(path)
    if foreign is not None:
        return _inspect_foreign(path, backend, foreign)
    manifest = backend.read_manifest(path)
    preprocessing = manifest.preprocessing
    files = [path, *data_files(path)]
    description = backend.describe(path, manifest)
    return Inspection(
        path=str(path),
        kind="artifact",
        family=f"{manifest.target}, {manifest.precision}, batch {manifest.batch}",
        parameters=_count_numbers(manifest, description.audit),
        spec=manifest.spec.to_mapping() if manifest.spec else None,
        preprocessing=preprocessing.to_mapping() if preprocessing else None,
        labels=len(manifest.labels),
        assumed=manifest.assumed,
        problem_type=manifest.problem_type if manifest.signature.classifies else None,
        size_bytes=sum(file.stat().st_size for file in files),
        metadata=collect_metadata(manifest) | dict(description.metadata),
        audit=description.audit,
    )


def _inspect_foreign(path: Path, backend: Backend, description: Description) -> Inspection:
    """Return what is known of a file that another tool wrote."""
    arithmetic = backend.find_precisions(path)
    precision = name_least_exact(arithmetic) if arithmetic else "unknown precision"
    audit = description.audit
    return Inspection(
        path=str(path),
        kind="artifact",
        family=f"{backend.name} of another tool, {precision}",
        parameters=sum(audit.dtypes.values()) if audit is not None else None,
        spec=None,
        preprocessing=None,
        labels=0,
        size_bytes=path.stat().st_size,
        metadata=description.metadata,
        audit=audit,
    )


def _count_numbers(manifest: Manifest, audit: "Audit | None") -> int | None:
    """Return the number of parameters; for a module of no known family, of the stored numbers."""
    if manifest.spec is not None:
        return count_parameters(manifest.spec)
    return sum(audit.dtypes.values()) if audit is not None else None


def _inspect_checkpoint(path: Path, preset: Preset | None, hints: CheckpointHints) -> Inspection:
    from vit_export.checkpoints.apply_overrides import apply_overrides
    from vit_export.checkpoints.assumptions import check_settled
    from vit_export.checkpoints.families import find_family
    from vit_export.checkpoints.families.translation import translate
    from vit_export.checkpoints.from_file import load_checkpoint
    from vit_export.checkpoints.libraries.arch import read_hinted
    from vit_export.checkpoints.overrides import NO_OVERRIDES

    checkpoint = read_hinted(path, hints)
    family = find_family(checkpoint.tensors, str(path))
    translation = translate(family, checkpoint.tensors)
    inspection = Inspection(
        path=str(path),
        kind="checkpoint",
        family=family.name,
        parameters=sum(tensor.numel() for tensor in translation.tensors.values()),
        spec=None,
        preprocessing=None,
        labels=0,
        unused={**checkpoint.unused, **translation.unused},
    )
    try:
        model = apply_overrides(load_checkpoint(checkpoint, preset, hints), NO_OVERRIDES)
        if hints.strict:
            check_settled(model, str(path))
    except RequestError as error:
        return replace(inspection, missing=(f"{error.message} Fix: {error.fix}",))
    preprocessing = model.preprocessing
    return replace(
        inspection,
        spec=model.vit.spec.to_mapping(),
        preprocessing_note=model.image_notes,
        preprocessing=preprocessing.to_mapping() if preprocessing else None,
        labels=len(model.labels),
        assumed=model.assumed,
        problem_type=model.problem_type if model.signature.classifies else None,
    )
