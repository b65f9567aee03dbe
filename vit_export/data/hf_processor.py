"""`Preprocessing` from Hugging Face's image-processor files and from a family's defaults.

The file of a `transformers` image processor may leave values out. Then the class attributes in
transformers/models/*/image_processing_*.py apply.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from vit_export.core.errors import RequestError
from vit_export.data.preprocessing import Preprocessing, choose_mode

RESAMPLE = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers of its filters, which preprocessor_config.json uses."""
RESCALE = 1 / 255
DEFAULT_CROP = 224
"""Side in pixels of the input that a family's documented default is for."""

HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
OPENAI = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
COMMON = {
    "do_resize": True,
    "do_center_crop": False,
    "do_rescale": True,
    "do_normalize": True,
    "rescale_factor": RESCALE,
}
CROP = {"do_center_crop": True, "crop_size": 224}
SHORTER = {"size": {"shortest_edge": 224}, "resample": 3}
PROCESSORS: Mapping[str, Mapping[str, Any]] = {
    "ViT": {**COMMON, "size": 224, "resample": 2, **HALF},
    "Beit": {**COMMON, "size": 224, "crop_size": 224, "resample": 3, **HALF},
    "DeiT": {**COMMON, "size": 256, "resample": 3, **CROP, **HALF},
    "CLIP": {**COMMON, **SHORTER, **CROP, **OPENAI},
    "Bit": {**COMMON, **SHORTER, **CROP, **OPENAI},  # DINOv2's
    "DINOv3ViT": {**COMMON, "size": {"height": 224, "width": 224}, "resample": 2, **IMAGENET},
    "Siglip": {**COMMON, "size": {"height": 224, "width": 224}, "resample": 3, **HALF},
    "Tipsv2": {
        **COMMON,
        "size": {"height": 448, "width": 448},
        "resample": 2,
        "do_normalize": False,
        **HALF,
    },
}
"""Values that the files of an image processor may leave out, by its class."""
RESIZES_SHORTER_SIDE = {"CLIP", "Bit", "Siglip"}
"""Classes that read a single number in `size` as the shorter side; the others read both sides."""
OVERRIDE = "give --mean, --std and --resize, which replace it."


def parse_processor(
    values: Mapping[str, Any], where: str, *, kind: str | None = None, channels: int = 3
) -> Preprocessing:
    """Return the preprocessing that the file of an image processor describes.

    Args:
        values: content of the file.
        where: the file, for errors.
        kind: a class in `PROCESSORS`, for a file that does not name its class.
        channels: number of channels of the model's images.

    Raises:
        RequestError: a step is unknown or not supported, or a value is invalid.
    """
    kind = _find_kind(values, kind, where)
    _check_nulls(values, PROCESSORS[kind], where)
    settings = {**PROCESSORS[kind], **{k: v for k, v in values.items() if v is not None}}
    _check_steps(settings, where)
    resize = _parse_size(settings["size"], kind, where)
    crop = _parse_pair(settings["crop_size"]) if settings["do_center_crop"] else resize
    if isinstance(crop, int):
        message = f"{where}: a shorter side of {crop} without a crop leaves images of any size."
        raise RequestError(message, OVERRIDE)
    mean, std = (_repeat(settings[name], channels) for name in ("image_mean", "image_std"))
    if len(mean) != channels and settings["do_normalize"]:
        message = f"{where}: image_mean has {len(mean)} values, the model takes {channels} channels"
        raise RequestError(f"{message}.", OVERRIDE)
    if not settings["do_normalize"]:
        mean, std = [0.0] * channels, [1.0] * channels
    fields = {
        "mode": choose_mode(channels),
        "resize": resize,
        "crop": crop,
        "centre": "floor",
        "interpolation": RESAMPLE.get(settings["resample"]),
        "mean": mean,
        "std": std,
    }
    return Preprocessing.from_mapping(fields, where)


def build_default(
    values: Mapping[str, Any] | None, size: tuple[int, int], channels: int, where: str
) -> Preprocessing | None:
    """Return a family's documented default for images of `size`; None if it has none.

    Args:
        values: fields of Preprocessing for a crop of 224; None if nothing is documented.
        size: (height, width) in pixels.
        channels: number of channels; a default for another number does not apply.
        where: the family, for errors.
    """
    if values is None or len(values["mean"]) != channels:
        return None
    crop = (DEFAULT_CROP, DEFAULT_CROP)
    return Preprocessing.from_mapping({"crop": crop, **values}, where).adapt_to(size)


def _find_kind(values: Mapping[str, Any], kind: str | None, where: str) -> str:
    """Return the class that the file of `transformers` 4 or 5 names, else `kind`."""
    name = values.get("image_processor_type") or values.get("feature_extractor_type")
    if name is not None:
        kind = re.sub(r"(ImageProcessor(Fast|Pil)?|FeatureExtractor)$", "", str(name))
    if kind is None or kind not in PROCESSORS:
        message = f"{where} is a {name}." if name else f"{where} names no image_processor_type."
        raise RequestError(f"{message} Known: {', '.join(PROCESSORS)}.", OVERRIDE)
    return kind


def _check_nulls(values: Mapping[str, Any], defaults: Mapping[str, Any], where: str) -> None:
    """Raise RequestError if null stands where versions of `transformers` differ.

    Some take the class's own default for null, others skip the step or fail.
    """
    name = next((n for n, v in values.items() if v is None and defaults.get(n)), None)
    if name is not None:
        message = f"{where}: {name} is null, which versions of transformers read in two ways."
        raise RequestError(message, f"write its value there, or leave {name} out of that file.")


def _repeat(value: Any, channels: int) -> list[Any]:
    """Return one value per channel, as `transformers` does with a single number."""
    return [value] * channels if isinstance(value, int | float) else value


def _check_steps(settings: Mapping[str, Any], where: str) -> None:
    """Raise RequestError unless each step is one that `Preprocessing` can describe."""
    rescales = math.isclose(settings["rescale_factor"], RESCALE, rel_tol=1e-6)
    if not (rescales and settings["do_rescale"]):
        message = f"{where}: pixels are not scaled by 1/255, which is not supported."
        raise RequestError(message, OVERRIDE)
    if not settings["do_resize"]:
        message = f"{where}: do_resize is false: images of any other size would not fit the model."
        raise RequestError(message, "set it to true, or " + OVERRIDE)
    if settings["do_center_crop"] and "crop_size" not in settings:
        raise RequestError(f"{where}: do_center_crop has no crop_size.", "give it in that file.")


def _parse_pair(value: Any) -> tuple[int, int]:
    if isinstance(value, Mapping):
        return int(value["height"]), int(value["width"])
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def _parse_size(value: Any, kind: str, where: str) -> int | tuple[int, int]:
    """Return the target of the resize: the length of the shorter side, or (height, width).

    `value` is `{"shortest_edge": 256}`, `{"height": 224, "width": 224}`, a pair, or a number, whose
    meaning depends on `kind`.
    """
    if isinstance(value, int):
        return value if kind in RESIZES_SHORTER_SIDE else (value, value)
    if isinstance(value, Mapping) and value.keys() not in ({"shortest_edge"}, {"height", "width"}):
        raise RequestError(f"{where}: size {dict(value)} is not supported.", OVERRIDE)
    if isinstance(value, Mapping) and "shortest_edge" in value:
        return int(value["shortest_edge"])
    return _parse_pair(value)
