"""Preprocessing as checkpoints carry it, in ours: Hugging Face's files and families' defaults."""

import math
from collections.abc import Mapping
from typing import Any

from vit_export.errors import RequestError
from vit_export.vit.preprocess import Preprocessing

RESAMPLE = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers, which preprocessor_config.json uses."""
RESCALE = 1 / 255
CROP_OF_DEFAULTS = 224


def from_processor(values: Mapping[str, Any], size: tuple[int, int], where: str) -> Preprocessing:
    """What a preprocessor_config.json says, for a model that takes images of `size`.

    Raises:
        RequestError: a step that can't be told or is not built.
    """
    rescales = math.isclose(values.get("rescale_factor", RESCALE), RESCALE, rel_tol=1e-6)
    if not (rescales and values.get("do_rescale", True)):
        raise RequestError(f"{where}: pixels are not scaled by 1/255.", "that is not built yet.")
    crops = values.get("do_center_crop", "crop_size" in values)
    crop = _pair(values.get("crop_size", size)) if crops else size
    steps = {
        "resize": _resize(values.get("size", size)) if values.get("do_resize", True) else crop,
        "crop": crop,
        "centre": "floor",
        "interpolation": RESAMPLE.get(values.get("resample", 2)),
        "mean": values.get("image_mean", [0.5] * 3),
        "std": values.get("image_std", [0.5] * 3),
    }
    if not values.get("do_normalize", True):
        steps |= {"mean": [0.0] * 3, "std": [1.0] * 3}
    made = Preprocessing.from_mapping(steps, where)
    return made if made.crop == size else made.at(size)


def from_defaults(
    values: Mapping[str, Any] | None, size: tuple[int, int], channels: int, where: str
) -> Preprocessing | None:
    """A family's documented default, brought to `size`; None where it has none for `channels`."""
    if values is None or len(values["mean"]) != channels:
        return None
    crop = (CROP_OF_DEFAULTS, CROP_OF_DEFAULTS)
    return Preprocessing.from_mapping({"crop": crop, **values}, where).at(size)


def _pair(value: Any) -> tuple[int, int]:
    if isinstance(value, Mapping):
        return int(value["height"]), int(value["width"])
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def _resize(value: Any) -> int | tuple[int, int]:
    """`{"shortest_edge": 256}`, `{"height": 224, "width": 224}`, or 224 for both sides."""
    if isinstance(value, Mapping) and "shortest_edge" in value:
        return int(value["shortest_edge"])
    return _pair(value)
