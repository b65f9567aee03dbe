"""A trained model as its checkpoint tells it: tensors, the JSON files beside them, and the rest.

What no file tells comes from a preset of the same architecture or from explicit options.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vit_export.checkpoints.consistency import (
    OPTIONS,
    check_config,
    check_kind,
    check_told,
    check_whole,
)
from vit_export.core.errors import RequestError
from vit_export.data.labels import labels_from_config
from vit_export.data.preprocessing import Preprocessing
from vit_export.model.model import Model, Provenance
from vit_export.model.vit.presets import Preset
from vit_export.model.vit.spec import VitSpec

if TYPE_CHECKING:  # torch is heavy, and a bad request is refused without it
    from vit_export.checkpoints.families.base import Facts, Family
    from vit_export.checkpoints.files import Checkpoint

LEFT_OPEN = ("heads", "mlp")
CONVENTIONS = (*LEFT_OPEN, "qkv_layout", "attention_scale", "norm_eps", "pool")
FP32 = 4
"""Bytes of a weight in the model."""
ARCHITECTURE = ("width", "depth", "patch_size", "channels", "mlp_hidden")


def from_checkpoint(
    checkpoint: "Checkpoint",
    preset: Preset | None,
    told: dict[str, Any],
    *,
    needs_preprocessing: bool = True,
    needs_labels: bool = True,
) -> Model:
    """The trained model of a checkpoint, completed by `preset` and by the hints in `told`.

    Args:
        checkpoint: tensors and the JSON files beside them.
        preset: a model of the same architecture, for what the checkpoint does not record.
        told: fields of VitSpec that the user gave.
        needs_preprocessing: False where the request replaces the preprocessing, so that a file
            that can't be understood is no obstacle.
        needs_labels: False where the request replaces the labels or the model has none.

    Raises:
        RequestError: a checkpoint that can't be told apart or completed, or does not fit.
    """
    from vit_export.checkpoints.families import family_of
    from vit_export.checkpoints.families.naming import originals
    from vit_export.checkpoints.infer_spec import infer_spec, sizes_of
    from vit_export.model.vit.state import fill

    path, config = checkpoint.path, checkpoint.config
    family = family_of(checkpoint.tensors, str(path))
    check_kind(config, family, path)
    where = f"{path} ({family.name})"
    renamed = family.rename(checkpoint.tensors)
    original = originals(family, renamed)
    if preset is not None:
        sizes = sizes_of(renamed.tensors, where, original)
        _check_architecture(sizes, preset, path)
    with _understood(path):
        facts = _completed_by(preset, family) | family.conventions
        facts |= family.config_facts(config) | told
    spec = infer_spec(renamed.tensors, facts, where, original)
    check_told(spec, told, where)
    vit = fill(spec, renamed.tensors, where, original, _fix_of_misfit(told))
    with _understood(path):
        check_whole(renamed.tensors, family, config, original, where)
        check_config(spec, family, config, where)
        beside = _steps_beside(checkpoint, family, spec.channels, needed=needs_preprocessing)
        steps, note = _preprocessing(beside, path.name, family, preset, spec)
        labels = labels_from_config(config, spec.classes or 0, where) if needs_labels else ()
    return Model.from_vit(
        vit,
        name=preset.name if preset else path.stem,
        provenance=Provenance(
            weights_from=_origin(checkpoint, renamed.unused),
            overrides={"trained_size" if k == "image_size" else k: v for k, v in told.items()},
            unused=renamed.unused,
        ),
        preprocessing=steps,
        preprocessing_note=note,
        labels=labels or (preset.labels if preset and preset.spec.classes == spec.classes else ()),
        resampling=family.resampling,
    )


def _fix_of_misfit(told: dict[str, Any]) -> str:
    options = " and ".join(OPTIONS[name] for name in told)
    fix = "give a whole checkpoint of this family, without what another model adds"
    return f"{fix}; or leave {options} out." if options else f"{fix}."


@contextmanager
def _understood(path: Path) -> Iterator[None]:
    """JSON beside a checkpoint is anybody's: what has another shape than expected is told so."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        message = f"{path}: its JSON files hold what can't be understood ({error!r})."
        raise RequestError(message, "copy them again, or give the weights file alone.") from None


def _origin(checkpoint: "Checkpoint", unused: Mapping[str, str]) -> str:
    """The file, the keys in it, and what was done to weights that are not fp32."""
    keys = "".join(f"[{key}]" for key in checkpoint.keys)
    kinds = {tensor.dtype for name, tensor in checkpoint.tensors.items() if name not in unused}
    told = [
        f"{str(kind).removeprefix('torch.')} {'narrowed' if kind.itemsize > FP32 else 'widened'}"
        for kind in sorted(kinds, key=str)
        if kind.itemsize != FP32
    ]
    return ", ".join([checkpoint.path.name + keys, *told])


def _completed_by(preset: Preset | None, family: "Family") -> dict[str, Any]:
    """What a preset adds: for names with conventions of their own only what those leave open."""
    names = LEFT_OPEN if family.conventions else CONVENTIONS
    return {name: getattr(preset.spec, name) for name in names} if preset else {}


def _check_architecture(sizes: "Facts", preset: Preset, path: Path) -> None:
    expected = asdict(preset.spec) | {"mlp_hidden": preset.spec.hidden}
    for name in ARCHITECTURE:
        found, wanted = sizes[name], expected[name]
        if found != wanted:
            raise RequestError(
                f"{path} does not fit {preset.name}: {name} is {found}, not {wanted}.",
                "give the --model these weights were trained as, or none.",
            )


def _preprocessing(
    steps: Preprocessing | None, origin: str, family: "Family", preset: Preset | None, spec: VitSpec
) -> tuple[Preprocessing | None, str]:
    """For images of `spec`; and what has to be said of it: assumed, or brought to that size."""
    from vit_export.data.hf_processor import build_default

    if steps is None and preset is not None:
        steps, origin = preset.preprocessing, preset.name
    elif steps is None:
        values = family.default_for(spec)
        steps = build_default(values, spec.image_size, spec.channels, family.name)
        return steps, f"assumed, the default of {family.name}" if steps else ""
    if steps is None or steps.crop == spec.image_size:
        return steps, ""
    told, made = ("x".join(map(str, size)) for size in (steps.crop, spec.image_size))
    return steps.adapt_to(
        spec.image_size
    ), f"that of {origin} is for {told}, and was brought to {made}"


def _steps_beside(
    checkpoint: "Checkpoint", family: "Family", channels: int, *, needed: bool
) -> Preprocessing | None:
    """What the JSON files beside the weights say, for the size of images that they say."""
    from vit_export.data.hf_processor import parse_processor

    path, kind = checkpoint.path, family.processor
    try:
        if checkpoint.processor:
            where = f"the image processor of {path}"
            return parse_processor(checkpoint.processor, where, kind=kind, channels=channels)
        told = family.config_preprocessing(checkpoint.config)
        return None if told is None else Preprocessing.from_mapping(told, str(path))
    except RequestError:
        if needed:
            raise
        return None
