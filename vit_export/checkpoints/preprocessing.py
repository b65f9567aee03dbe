"""The preprocessing of a checkpoint: from a file beside it, a preset, or its family's default."""

from typing import TYPE_CHECKING

from vit_export.core.errors import RequestError
from vit_export.data.hf_processor import build_default, parse_processor
from vit_export.data.preprocessing import Preprocessing
from vit_export.model.vit.presets import Preset
from vit_export.model.vit.spec import VitSpec

ASSUMED = "assumed"
"""First word of the note about a preprocessing that nothing gives."""

if TYPE_CHECKING:  # torch is heavy, and a bad request is refused without it
    from vit_export.checkpoints.families.base import Family
    from vit_export.checkpoints.files import Checkpoint


def find_preprocessing(
    checkpoint: "Checkpoint",
    family: "Family",
    preset: Preset | None,
    spec: VitSpec,
    *,
    needed: bool,
) -> tuple[Preprocessing | None, str]:
    """Return the preprocessing for images of `spec`, and a note for reports.

    The note begins with `ASSUMED` for the default of the family. It says that the preprocessing was
    adapted to another image size; else it is empty.

    Args:
        checkpoint: its JSON files take precedence.
        family: its documented default applies if nothing else does.
        preset: its preprocessing applies if the files have none; None leaves that to the default.
        spec: the spec of the model.
        needed: False ignores a preprocessing in the files that is not supported.

    Raises:
        RequestError: the files have a preprocessing that is not supported, and it is needed.
    """
    preprocessing, origin = _read_beside(checkpoint, family, spec, needed=needed), ""
    if preprocessing is not None:
        origin = checkpoint.path.name
    elif preset is not None:
        preprocessing, origin = preset.preprocessing, preset.name
    else:
        fields = family.choose_preprocessing(spec)
        default = build_default(fields, spec.image_size, spec.channels, family.name)
        return default, f"{ASSUMED}, the default of {family.name}" if default else ""
    if preprocessing is None or preprocessing.crop == spec.image_size:
        return preprocessing, ""
    old, new = ("x".join(map(str, size)) for size in (preprocessing.crop, spec.image_size))
    note = f"that of {origin} is for {old}, and was adapted to {new}"
    return preprocessing.adapt_to(spec.image_size), note


def find_pipeline(
    checkpoint: "Checkpoint", family: "Family", spec: VitSpec
) -> Preprocessing | None:
    """Return the checkpoint's own preprocessing if the library computes at another size with it."""
    if not (family.takes_any_size and checkpoint.processor):
        return None
    preprocessing = _read_beside(checkpoint, family, spec, needed=False)
    if preprocessing is None or preprocessing.crop == spec.image_size:
        return None
    return preprocessing


def _read_beside(
    checkpoint: "Checkpoint", family: "Family", spec: VitSpec, *, needed: bool
) -> Preprocessing | None:
    """Return the preprocessing in the JSON files beside the weights, for their image size."""
    path, kind = checkpoint.path, family.processor
    try:
        if checkpoint.processor:
            where = f"the image processor of {path}"
            return parse_processor(checkpoint.processor, where, kind=kind, channels=spec.channels)
        fields = family.config_preprocessing(checkpoint.config)
        return None if fields is None else Preprocessing.from_mapping(fields, str(path))
    except RequestError:
        if needed:
            raise
        return None
