"""The architecture of a checkpoint's model, from its tensors and everything known besides them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vit_export.checkpoints.consistency import check_complete, check_config, check_hints
from vit_export.checkpoints.foreign_json import refuse_foreign_json
from vit_export.checkpoints.hints import CheckpointHints
from vit_export.checkpoints.known_facts import check_preset, gather_facts
from vit_export.model.vit.presets import Preset

if TYPE_CHECKING:  # torch is heavy, and a bad request is refused without it
    from collections.abc import Callable

    from vit_export.checkpoints.families.base import Family
    from vit_export.checkpoints.families.translation import Translation
    from vit_export.checkpoints.files import Checkpoint
    from vit_export.model.vit.spec import VitSpec


NAMES_DECIDE = ("timm", "torchvision", "open_clip")
"""Libraries whose names of architectures decide heads and activation; those of classes do not."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A spec, and what is certain about it."""

    spec: "VitSpec"
    settled: frozenset[str]
    """Names of the fields that are not assumed: tensors, a config.json or an option show them."""
    original_name: "Callable[[str], str]"
    """Function from our name of a tensor to the checkpoint's, for errors."""


def read_architecture(
    family: "Family",
    translation: "Translation",
    checkpoint: "Checkpoint",
    preset: Preset | None,
    hints: CheckpointHints,
) -> Architecture:
    """Return the architecture of a checkpoint.

    Args:
        family: the family of the checkpoint.
        translation: its tensors under our names.
        checkpoint: its config.json, and its path for errors.
        preset: a model of the same architecture; None without one.
        hints: facts that the user provides.

    Raises:
        RequestError: a fact is missing, or the tensors contradict the config.json, the preset or
            the hints.
    """
    from vit_export.checkpoints.families.naming import build_name_lookup
    from vit_export.checkpoints.infer_sizes import infer_parts, infer_sizes
    from vit_export.checkpoints.infer_spec import infer_spec, list_shown

    path, config, fields = checkpoint.path, checkpoint.config, hints.spec_fields()
    tensors, where = translation.tensors, f"{path} ({family.name})"
    original_name = build_name_lookup(family, translation)
    shown = infer_sizes(tensors, where, original_name) | infer_parts(tensors)
    if preset is not None:
        check_preset(shown, preset, path)
    with refuse_foreign_json(path):
        known = gather_facts(family, config, preset, fields, shown)
    known.check_block(where)
    arch = family.library if family.library in NAMES_DECIDE else ""
    spec = infer_spec(tensors, known.merged, where, original_name, arch)
    check_hints(spec, fields, where)
    with refuse_foreign_json(path):
        check_complete(tensors, family, config, original_name, where)
        check_config(spec, family, config, where)
    settled = known.list_settled(spec) | list_shown(tensors, spec)
    shows_size = spec.positions != "none" or spec.relative_bias
    if hints.arch and not shows_size and "image_size" not in fields:
        settled.discard("image_size")  # weights of any size fit the library's own model
    return Architecture(spec=spec, settled=frozenset(settled), original_name=original_name)
