"""The trained model of a checkpoint: its tensors, the JSON files beside them, and hints.

A preset of the same architecture, or hints, provide what no file records.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vit_export.checkpoints.architecture import read_architecture
from vit_export.checkpoints.assumptions import find_assumptions
from vit_export.checkpoints.consistency import check_model_type
from vit_export.checkpoints.foreign_json import refuse_foreign_json
from vit_export.checkpoints.hints import OPTIONS, CheckpointHints
from vit_export.checkpoints.preprocessing import find_pipeline, find_preprocessing
from vit_export.checkpoints.problem_type import find_problem_type
from vit_export.checkpoints.resampling import choose_resampling
from vit_export.data.labels import read_config_labels
from vit_export.model.model import Model, Provenance
from vit_export.model.vit.presets import Preset
from vit_export.model.vit.spec import VitSpec

if TYPE_CHECKING:  # torch is heavy, and a bad request is refused without it
    from vit_export.checkpoints.files import Checkpoint

FP32_BYTES = 4


def load_checkpoint(
    checkpoint: "Checkpoint",
    preset: Preset | None,
    hints: CheckpointHints,
    *,
    needs_preprocessing: bool = True,
    needs_labels: bool = True,
    outputs: Sequence[str] | None = None,
) -> Model:
    """Return the trained model of a checkpoint, completed by `preset` and by `hints`.

    Args:
        checkpoint: tensors and the JSON files beside them.
        preset: a model of the same architecture, for what the checkpoint does not record.
        hints: facts that the user provides.
        needs_preprocessing: False if the request replaces the preprocessing; then one that is not
            supported is ignored.
        needs_labels: False if the request replaces the labels, or the exported model has none.
        outputs: the outputs that the request names; None for the model's own answer.

    Raises:
        RequestError: the checkpoint is of no known family or incomplete, or contradicts its JSON
            files, the preset or the hints.
    """
    from vit_export.checkpoints.families.translation import translate
    from vit_export.checkpoints.own_head import choose_family
    from vit_export.model.vit.state import fill

    path, config, fields = checkpoint.path, checkpoint.config, hints.spec_fields()
    with refuse_foreign_json(path):
        family = choose_family(checkpoint, hints, outputs)
    check_model_type(config, family, path)
    where = f"{path} ({family.name})"
    translation = translate(family, checkpoint.tensors)
    architecture = read_architecture(family, translation, checkpoint, preset, hints)
    spec, original_name = architecture.spec, architecture.original_name
    vit = fill(spec, translation.tensors, where, original_name, _fix_misfit(fields))
    with refuse_foreign_json(path):
        preprocessing, note = find_preprocessing(
            checkpoint, family, preset, spec, needed=needs_preprocessing
        )
        labels = read_config_labels(config, spec.classes or 0, where) if needs_labels else ()
    unused = {**checkpoint.unused, **translation.unused}
    used_note = note if needs_preprocessing else ""
    problem_type, assumed = find_problem_type(
        config,
        spec.classes or 0,
        where,
        hint=hints.problem_type,
        recorded_elsewhere=preset is not None,
    )
    return Model.from_vit(
        vit,
        name=preset.name if preset else path.stem,
        provenance=_make_provenance(checkpoint, preset, hints, unused),
        preprocessing=preprocessing,
        preprocessing_note=note,
        pipeline=find_pipeline(checkpoint, family, spec),
        labels=labels or _labels_from_preset(preset, spec),
        problem_type=problem_type,
        resampling=choose_resampling(family, config, unused),
        assumed=find_assumptions(spec, family, architecture.settled, used_note) | assumed,
    )


def _make_provenance(
    checkpoint: "Checkpoint",
    preset: Preset | None,
    hints: CheckpointHints,
    unused: Mapping[str, str],
) -> Provenance:
    return Provenance(
        weights_from=_describe_weights(checkpoint, unused),
        overrides=_record_hints(hints),
        preset=preset.shipped_name if preset else "",
        unused=unused,
    )


def _fix_misfit(hints: Mapping[str, Any]) -> str:
    options = " and ".join(OPTIONS[name] for name in hints)
    fix = "export another model, or save all tensors of this one and none of others"
    return f"{fix}; or leave {options} out." if options else f"{fix}."


def _describe_weights(checkpoint: "Checkpoint", unused: Mapping[str, str]) -> str:
    """Return the file's name, the keys around the tensors, and the types converted to fp32."""
    keys = "".join(f"[{key}]" for key in checkpoint.keys)
    dtypes = {tensor.dtype for name, tensor in checkpoint.tensors.items() if name not in unused}
    conversions = [
        f"{str(dtype).removeprefix('torch.')} "
        f"{'narrowed' if dtype.itemsize > FP32_BYTES else 'widened'}"
        for dtype in sorted(dtypes, key=str)
        if dtype.itemsize != FP32_BYTES
    ]
    name = checkpoint.path.name + (f" on {checkpoint.base}" if checkpoint.base else "")
    return ", ".join([name + keys, *conversions])


def _record_hints(hints: CheckpointHints) -> dict[str, Any]:
    """Return the hints as the manifest records them."""
    fields = hints.spec_fields().items()
    values = {"trained_size" if name == "image_size" else name: v for name, v in fields}
    reading = {name: getattr(hints, name) for name in ("arch", "prefix", "head_from")}
    return values | {name: value for name, value in reading.items() if value is not None}


def _labels_from_preset(preset: Preset | None, spec: VitSpec) -> tuple[str, ...]:
    return preset.labels if preset and preset.spec.classes == spec.classes else ()
