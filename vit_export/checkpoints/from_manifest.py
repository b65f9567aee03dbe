"""The eager model of an artifact, rebuilt from its manifest and its weights."""

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vit_export.artifact.manifest import Manifest
from vit_export.checkpoints.hints import NO_HINTS, CheckpointHints
from vit_export.core.errors import RequestError
from vit_export.model.model import Model, Provenance
from vit_export.model.vit.presets import list_presets, load_preset
from vit_export.model.vit.spec import VitSpec

if TYPE_CHECKING:  # torch is heavy, and a bad request is refused without it
    from collections.abc import Callable

    from vit_export.checkpoints.files import Checkpoint
    from vit_export.model.vit.vit import Vit

RANDOM = re.compile(r"random, seed (\d+)")


def rebuild_vit(
    manifest: Manifest,
    weights: Path | None,
    hints: CheckpointHints = NO_HINTS,
    confirm: "Callable[[Checkpoint, Model], None] | None" = None,
) -> "Vit":
    """Return the eager model of `manifest` with the weights of a checkpoint.

    Without `weights` it has the weights that ship with the preset, or random ones from the
    manifest's seed.

    Args:
        manifest: of the artifact.
        weights: the checkpoint.
        hints: how it is read; what they leave open is as it was when the artifact was made.
        confirm: called with the checkpoint and the model of the manifest, before any overrides.

    Raises:
        RequestError: the model is no known Vision Transformer, the weights do not fit, or there are
            none.
    """
    from vit_export.model.vit.adapt import Resampling, change_outputs, resize_positions

    overrides = manifest.overrides
    trained = overrides.get("trained", manifest.require_spec().to_mapping())
    spec = VitSpec.from_mapping(trained, "the manifest")
    vit = _load_trained(manifest, spec, weights, hints, confirm)
    if spec.image_size != manifest.signature.image_size:
        fields = overrides.get("resampling")
        resampling = Resampling(**fields) if fields else None
        vit = resize_positions(vit, manifest.signature.image_size, resampling)
    return change_outputs(vit, [one.name for one in manifest.signature.outputs])


def rebuild_identical_vit(manifest: Manifest, weights: Path | None) -> "Vit":
    """Return the eager model of `manifest`, with exactly the weights of the artifact.

    Raises:
        RequestError: as in `rebuild_vit`, or the weights differ from those of the artifact.
    """
    from vit_export.model.hash import hash_tensors

    vit = rebuild_vit(manifest, weights)
    if hash_tensors(vit) != manifest.weights_sha256:
        message = f"{weights or manifest.model} does not hold the weights of the artifact."
        raise RequestError(message, f"give those it was made of: {manifest.weights_from}.")
    return vit


def reread_checkpoint(manifest: Manifest, weights: Path, hints: CheckpointHints) -> "Checkpoint":
    """Return a checkpoint as it was read for the artifact, where `hints` leave that open.

    Raises:
        RequestError: as in `read_checkpoint`, or `hints.arch` names no model.
    """
    from vit_export.checkpoints.libraries.arch import read_hinted

    prefix = hints.prefix or manifest.overrides.get("prefix")
    head_from = hints.head_from or manifest.overrides.get("head_from")
    return read_hinted(weights, replace(hints, prefix=prefix, head_from=head_from))


def _load_trained(
    manifest: Manifest,
    spec: VitSpec,
    weights: Path | None,
    hints: CheckpointHints,
    confirm: "Callable[[Checkpoint, Model], None] | None",
) -> "Vit":
    """Return the model as it was trained, before any overrides."""
    from vit_export.model.vit.state import random_vit

    random = RANDOM.fullmatch(manifest.weights_from)
    if weights is None and random:
        return random_vit(spec, int(random[1]))
    from vit_export.checkpoints.from_state_dict import load_vit

    if weights is None and manifest.model in list_presets():
        weights = load_preset(manifest.model).weights
    if weights is None:
        message = "The artifact does not say where its weights are."
        raise RequestError(message, f"give --weights: it was made of {manifest.weights_from}.")
    checkpoint = reread_checkpoint(manifest, weights, hints)
    head_from = hints.head_from or manifest.overrides.get("head_from")
    vit = load_vit(spec, checkpoint.tensors, str(weights), head_from=head_from)
    if confirm is not None:
        provenance = Provenance(weights_from=weights.name)
        confirm(checkpoint, Model.from_vit(vit, name=manifest.model, provenance=provenance))
    return vit
