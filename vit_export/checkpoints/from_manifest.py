"""The eager model that an artifact came from, made again from its manifest and its weights."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from vit_export.artifact.manifest import Manifest
from vit_export.core.errors import RequestError
from vit_export.model.vit.presets import load_preset, preset_names
from vit_export.model.vit.spec import VitSpec

if TYPE_CHECKING:  # torch is heavy, and a bad request is refused without it
    from vit_export.model.vit.vit import Vit

RANDOM = re.compile(r"random, seed (\d+)")


def remade_vit(manifest: Manifest, weights: Path | None) -> "Vit":
    """The eager model of `manifest`; without `weights` from those that ship, or from its seed.

    Raises:
        RequestError: weights that do not fit, or none where nothing else brings them.
    """
    from vit_export.model.vit.adapt import Resampling, change_outputs, resize_positions

    changed = manifest.overrides
    spec = VitSpec.from_mapping(
        changed.get("trained", asdict(manifest.require_spec())), "the manifest"
    )
    vit = _trained(manifest, spec, weights)
    if spec.image_size != manifest.signature.image_size:
        told = changed.get("resampling")
        resampling = Resampling(**told) if told else None
        vit = resize_positions(vit, manifest.signature.image_size, resampling)
    return change_outputs(vit, manifest.signature.answer)


def same_vit(manifest: Manifest, weights: Path | None) -> "Vit":
    """The same, when it holds the very weights that the artifact was made of.

    Raises:
        RequestError: as `remade_vit`; or they are others.
    """
    from vit_export.model.vit.state import sha256_of

    vit = remade_vit(manifest, weights)
    if sha256_of(vit) != manifest.weights_sha256:
        message = f"{weights or manifest.model} does not hold the weights of the artifact."
        raise RequestError(message, f"give those it was made of: {manifest.weights_from}.")
    return vit


def _trained(manifest: Manifest, spec: VitSpec, weights: Path | None) -> "Vit":
    from vit_export.checkpoints.files import read_state_dict
    from vit_export.checkpoints.from_state_dict import load_vit
    from vit_export.model.vit.state import random_vit

    drawn = RANDOM.fullmatch(manifest.weights_from)
    if weights is None and drawn:
        return random_vit(spec, int(drawn[1]))
    if weights is None and manifest.model in preset_names():
        weights = load_preset(manifest.model).weights
    if weights is None:
        message = "The artifact does not tell where its weights are."
        raise RequestError(message, f"give --weights: it was made of {manifest.weights_from}.")
    return load_vit(spec, read_state_dict(weights), str(weights))
