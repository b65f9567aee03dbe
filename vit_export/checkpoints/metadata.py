"""Labels, preprocessing and problem type of a file, compared with its checkpoint or with options.

The answers do not depend on them, so a proof of the numbers says nothing about them.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vit_export.artifact.manifest import Manifest
from vit_export.checkpoints.apply_overrides import override_preprocessing
from vit_export.checkpoints.from_manifest import reread_checkpoint
from vit_export.checkpoints.hints import NO_HINTS, CheckpointHints
from vit_export.checkpoints.overrides import ModelOverrides
from vit_export.checkpoints.problem_type import KEY, find_problem_type
from vit_export.data.label_file import read_labels
from vit_export.data.labels import read_config_labels
from vit_export.data.preprocessing import Preprocessing
from vit_export.model.signature import ProblemType
from vit_export.model.vit.presets import Preset, list_presets, load_preset
from vit_export.model.vit.spec import VitSpec

if TYPE_CHECKING:  # torch is heavy, and a file is compared with its preset without it
    from vit_export.checkpoints.files import Checkpoint

LABELS, PREPROCESSING = "labels", "preprocessing"
UNRECORDED = "single_label"
"""The problem type of models and files that record none."""
OPTION_FIELDS = {"share": "resize"}
"""Options to the field of Preprocessing that they set, where the names differ."""


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What a file should say of its labels, its preprocessing and its problem type."""

    labels: tuple[str, ...] = ()
    """Names of the classes; empty if nothing gives them."""
    problem_type: ProblemType | None = None
    """What the logits are for; None if nothing records it."""
    steps: dict[str, Any] = field(default_factory=dict)
    """Fields of Preprocessing that something gives."""
    assumed: bool = False
    """Whether `steps` are the default of a family, which the file may contradict."""
    options: frozenset[str] = frozenset()
    """The fields of `steps`, `labels` and `problem_type` that are options of this validation."""


def compare_metadata(manifest: Manifest, expected: Metadata) -> tuple[list[str], list[str]]:
    """Return what a manifest says falsely, a sentence each, and what nothing could check.

    A field that the manifest calls an override of its export counts as unchecked: only the user
    knows, and can repeat the option.
    """
    false, unchecked = [], []
    overridden = set(manifest.overrides) - expected.options
    if manifest.labels and manifest.labels != expected.labels:
        if not expected.labels or LABELS in overridden:
            unchecked.append(f"{LABELS} not checked")
        else:
            index = _find_difference(manifest.labels, expected.labels)
            names = (manifest.labels[index], expected.labels[index])
            false.append(f"it calls class {index} {names[0]!r}, and the model {names[1]!r}")
    for name, value in _list_steps(manifest.preprocessing).items():
        theirs = expected.steps.get(name)
        uncertain = name in overridden or (expected.assumed and name not in expected.options)
        if name not in expected.steps or (value != theirs and uncertain):
            unchecked.append(f"{PREPROCESSING} not checked")
        elif value != theirs:
            false.append(f"its {PREPROCESSING} has {name} {value}, and the model's {theirs}")
    problem_type = expected.problem_type
    if manifest.signature.classifies and problem_type != manifest.problem_type:
        if problem_type is not None:
            false.append(f"its problem type is {manifest.problem_type}, the model's {problem_type}")
        elif manifest.problem_type != UNRECORDED:
            unchecked.append("problem type not checked")
    return false, list(dict.fromkeys(unchecked))


def find_metadata(
    manifest: Manifest,
    weights: Path | None,
    preset: str | None,
    overrides: ModelOverrides,
    hints: CheckpointHints = NO_HINTS,
) -> Metadata:
    """Return the labels and the preprocessing that a file of this manifest should have.

    Args:
        manifest: of the file: its preset, and the size of its images.
        weights: the user's checkpoint; JSON files beside it take precedence over a preset.
        preset: name or TOML file of the user's choice; None takes the one that the manifest names.
        overrides: the options that the user repeats; they take precedence over everything.
        hints: how `weights` are read.

    Raises:
        RequestError: a file is missing or invalid, or overrides do not fit the model.
    """
    chosen = _find_preset(manifest, preset)
    labels, preprocessing = _read_preset(manifest, chosen)
    assumed, problem_type = False, hints.problem_type
    if weights is not None and manifest.spec is not None:
        checkpoint = reread_checkpoint(manifest, weights, hints)
        labels, preprocessing, assumed = _read_checkpoint(manifest, checkpoint, chosen)
        problem_type = problem_type or _read_problem_type(manifest, checkpoint)
    steps = _list_steps(preprocessing)
    options = set()
    if overrides.labels is not None:
        options.add(LABELS)
        labels = read_labels(overrides.labels, manifest.signature.classes or 0)
    if overrides.preprocessing:
        base = preprocessing or manifest.preprocessing
        changed = override_preprocessing(base, manifest.signature, overrides.preprocessing)
        options |= {OPTION_FIELDS.get(name, name) for name in overrides.preprocessing.values()}
        known = steps.keys() | options
        complete = overrides.preprocessing.complete
        steps = {n: v for n, v in asdict(changed).items() if complete or n in known}
    return Metadata(
        labels=labels,
        problem_type=problem_type,
        steps=steps,
        assumed=assumed,
        options=frozenset(options),
    )


def _find_preset(manifest: Manifest, name: str | None) -> Preset | None:
    if name is not None:
        return load_preset(name)
    return load_preset(manifest.preset) if manifest.preset in list_presets() else None


def _read_preset(
    manifest: Manifest, preset: Preset | None
) -> tuple[tuple[str, ...], Preprocessing | None]:
    if preset is None:
        return (), None
    same = preset.spec.classes == manifest.signature.classes
    return preset.labels if same else (), _adapt(preset.preprocessing, manifest)


def _read_checkpoint(
    manifest: Manifest, checkpoint: "Checkpoint", preset: Preset | None
) -> tuple[tuple[str, ...], Preprocessing | None, bool]:
    """Return labels and preprocessing of a checkpoint, completed by the preset.

    The flag says that the preprocessing is the default of its family.
    """
    from vit_export.checkpoints.families import find_family
    from vit_export.checkpoints.preprocessing import ASSUMED, find_pipeline, find_preprocessing

    path = str(checkpoint.path)
    classes = manifest.signature.classes or 0
    labels = read_config_labels(checkpoint.config, classes, path)
    family = find_family(checkpoint.tensors, path)
    spec = _find_trained_spec(manifest)
    preprocessing, note = find_preprocessing(checkpoint, family, preset, spec, needed=False)
    pipeline = find_pipeline(checkpoint, family, spec)
    if pipeline is not None and pipeline.crop == manifest.signature.image_size:
        preprocessing = pipeline
    from_preset, _ = _read_preset(manifest, preset)
    return labels or from_preset, _adapt(preprocessing, manifest), note.startswith(ASSUMED)


def _read_problem_type(manifest: Manifest, checkpoint: "Checkpoint") -> ProblemType | None:
    """Return what a checkpoint records; None if it is an assumption, or an option of the export."""
    if KEY in manifest.overrides:
        return None
    classes, path = manifest.signature.classes or 0, str(checkpoint.path)
    problem_type, assumed = find_problem_type(checkpoint.config, classes, path)
    return None if assumed else problem_type


def _find_trained_spec(manifest: Manifest) -> VitSpec:
    trained = manifest.overrides.get("trained")
    return VitSpec.from_mapping(trained, "the manifest") if trained else manifest.require_spec()


def _adapt(preprocessing: Preprocessing | None, manifest: Manifest) -> Preprocessing | None:
    """Return the preprocessing for the images of the file."""
    size = manifest.signature.image_size
    if preprocessing is None or preprocessing.crop == size:
        return preprocessing
    return preprocessing.adapt_to(size)


def _list_steps(preprocessing: Preprocessing | None) -> dict[str, Any]:
    return asdict(preprocessing) if preprocessing else {}


def _find_difference(ours: tuple[str, ...], theirs: tuple[str, ...]) -> int:
    """Return the first index where two lists of names differ."""
    pairs = enumerate(zip(ours, theirs, strict=False))
    return next((i for i, (our, their) in pairs if our != their), 0)
