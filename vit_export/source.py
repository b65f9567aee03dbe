"""What a request exports: an eager model with everything that belongs to it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vit_export.errors import RequestError
from vit_export.presets import DEFAULT, Preset, load_preset
from vit_export.spec import VitSpec
from vit_export.vit.preprocess import Preprocessing

if TYPE_CHECKING:  # torch is heavy, and reading a request must be light
    from torch import Tensor, nn

    from vit_export.vit.eager import Vit

    Model = str | Path | nn.Module | tuple[VitSpec, Mapping[str, Tensor]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """An eager model, never touched again, and what travels with it."""

    name: str
    vit: "Vit"
    weights_from: str
    random: bool
    """Whether the weights are random: right for speed and size, worthless for answers."""
    overrides: Mapping[str, Any]
    preprocessing: Preprocessing | None
    labels: tuple[str, ...]


def parse_image_size(text: str) -> tuple[int, int]:
    """`384` or `384x256` as (height, width).

    Raises:
        RequestError: anything else.
    """
    if not re.fullmatch(r"[1-9]\d{0,4}(x[1-9]\d{0,4})?", text):
        raise RequestError(f"{text!r} is no image size.", "give HEIGHTxWIDTH or one side: 384x256.")
    height, _, width = text.partition("x")
    return int(height), int(width or height)


def load_source(
    model: "Model" = DEFAULT,
    *,
    weights: Path | None = None,
    seed: int = 0,
    image_size: str | None = None,
    classes: int | None = None,
) -> Source:
    """The eager model that a request means.

    Args:
        model: a preset's name or TOML, a live module of a known family, or (VitSpec, state dict).
        weights: a checkpoint for a preset; without it the shipped one, else random from `seed`.
        seed: of random weights.
        image_size: another size than the preset's, for random weights only.
        classes: another number of classes, for random weights only; else it is checked.

    Raises:
        RequestError: no such model, or weights, size and classes that do not fit it.
    """
    if isinstance(model, str | Path):
        preset = load_preset(str(model))
        return _from_preset(preset, weights, seed, overrides_of(preset.spec, image_size, classes))
    if weights or image_size or classes:
        raise RequestError(
            "weights, image_size and classes go with a preset.", "the model has its own already."
        )
    return _from_live(model)


def overrides_of(spec: VitSpec, image_size: str | None, classes: int | None) -> dict[str, Any]:
    """The fields of `spec` that a request changes, with their new values."""
    wanted: dict[str, Any] = {}
    if image_size is not None and parse_image_size(image_size) != spec.image_size:
        wanted["image_size"] = parse_image_size(image_size)
    if classes is not None and classes != spec.classes:
        wanted["classes"] = classes
    return wanted


def _from_preset(
    preset: Preset, weights: Path | None, seed: int, overrides: dict[str, Any]
) -> Source:
    from vit_export.vit.weights import random_vit, read_state_dict, vit_with

    file = weights or preset.weights
    if file is None:
        spec = replace(preset.spec, **overrides)
        vit, origin = random_vit(spec, seed), f"random, seed {seed}"
    else:
        _refuse_overrides(file, preset, overrides)
        vit, origin = vit_with(preset.spec, read_state_dict(file), str(file)), file.name
    steps = preset.preprocessing
    return Source(
        name=preset.name,
        vit=vit,
        weights_from=origin,
        random=file is None,
        overrides=overrides,
        preprocessing=steps.at(vit.spec.image_size) if steps and overrides else steps,
        labels=preset.labels if "classes" not in overrides else (),
    )


def _refuse_overrides(file: Path, preset: Preset, overrides: dict[str, Any]) -> None:
    if "image_size" in overrides:
        height, width = preset.spec.image_size
        raise RequestError(
            f"{file.name} has positions for {height}x{width}; resampling them is not built yet.",
            "leave --image-size out.",
        )
    if "classes" in overrides:
        raise RequestError(
            f"{file.name} is for {preset.spec.classes} classes, not {overrides['classes']}.",
            "leave --classes out, or give a TOML with the right count.",
        )


def _from_live(model: "nn.Module | tuple[VitSpec, Mapping[str, Tensor]]") -> Source:
    from torch import nn

    from vit_export.vit.weights import family_of, vit_with

    spec: VitSpec
    state: Mapping[str, Tensor]
    if isinstance(model, nn.Module):
        name, state = type(model).__name__, model.state_dict()
        spec = family_of(state, name).describe(model)
    elif isinstance(model, tuple) and len(model) == 2 and isinstance(model[0], VitSpec):  # noqa: PLR2004
        name, (spec, state) = "VitSpec", model
    else:
        raise RequestError(
            f"{type(model).__name__} is not a model.",
            "give a preset's name, a live module, or (VitSpec, state dict).",
        )
    return Source(
        name=name,
        vit=vit_with(spec, state, name),
        weights_from="a live module" if isinstance(model, nn.Module) else "a state dict",
        random=False,
        overrides={},
        preprocessing=None,
        labels=(),
    )
