"""From a request to the eager model it means: a preset, a checkpoint, or a model in memory."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vit_export.checkpoints.from_file import from_checkpoint
from vit_export.checkpoints.from_module import from_live
from vit_export.checkpoints.overrides import adapted, tells_all
from vit_export.checkpoints.request import NOTHING, Wanted, overrides_of
from vit_export.core.errors import RequestError
from vit_export.model.model import Source
from vit_export.model.vit.presets import DEFAULT, Preset, load_preset

if TYPE_CHECKING:  # torch is heavy, and a bad request is refused without it
    from torch import Tensor, nn

    from vit_export.model.vit.spec import VitSpec

    Model = str | Path | nn.Module | tuple[VitSpec, Mapping[str, Tensor]]


def load_source(
    model: "Model | None" = None,
    *,
    weights: Path | None = None,
    seed: int = 0,
    told: Mapping[str, Any] | None = None,
    wanted: Wanted = NOTHING,
) -> Source:
    """The eager model that a request means.

    Args:
        model: a preset's name or TOML, a live module of a known family, or (VitSpec, state dict);
            without it the checkpoint decides, and without that it is the default preset.
        weights: a checkpoint; without it a preset's shipped weights, else random from `seed`.
        seed: of random weights.
        told: fields of VitSpec that a checkpoint's tensors do not show, for `weights` only.
        wanted: what the model shall be that it is not; trained positions are resampled to another
            size, and another number of classes is for random weights only, else it is checked.

    Raises:
        RequestError: no such model, or weights and wishes that do not fit it.
    """
    return adapted(_found(model, weights, seed, dict(told or {}), wanted), wanted)


def _found(
    model: "Model | None", weights: Path | None, seed: int, told: dict[str, Any], wanted: Wanted
) -> Source:
    if model is not None and not isinstance(model, str | Path):
        if weights or told:
            raise RequestError(
                "weights and what tells of them go with a preset.", "the model has its own already."
            )
        return from_live(model)
    if weights is not None:
        from vit_export.checkpoints.files import read_checkpoint

        preset = None if model is None else load_preset(str(model))
        bare = wanted.labels is not None or wanted.outputs in {"features", "tokens"}
        return from_checkpoint(
            read_checkpoint(weights),
            preset,
            told,
            steps_told=tells_all(wanted.steps),
            needs_labels=not bare,
        )
    if told:
        raise RequestError(f"{', '.join(told)} go with a checkpoint.", "give --weights too.")
    preset = load_preset(str(model or DEFAULT))
    if preset.weights is not None:
        return _shipped(preset, preset.weights)
    return _random(preset, seed, overrides_of(preset.spec, wanted.image_size, wanted.classes))


def _shipped(preset: Preset, weights: Path) -> Source:
    from vit_export.checkpoints.files import read_checkpoint
    from vit_export.checkpoints.from_state_dict import load_vit

    return Source(
        name=preset.name,
        vit=load_vit(preset.spec, read_checkpoint(weights).tensors, str(weights)),
        weights_from=weights.name,
        random=False,
        overrides={},
        preprocessing=preset.preprocessing,
        labels=preset.labels,
    )


def _random(preset: Preset, seed: int, overrides: dict[str, Any]) -> Source:
    from vit_export.model.vit.state import random_vit

    spec = replace(preset.spec, **overrides)
    steps = preset.preprocessing
    return Source(
        name=preset.name,
        vit=random_vit(spec, seed),
        weights_from=f"random, seed {seed}",
        random=True,
        overrides=overrides,
        preprocessing=steps.at(spec.image_size) if steps and overrides else steps,
        labels=preset.labels if "classes" not in overrides else (),
    )
