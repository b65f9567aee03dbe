"""Preprocessing as checkpoints carry it, in ours: Hugging Face's files and families' defaults.

The files are those of `transformers`' image processors; what one leaves out is what its class does
(the class attributes of transformers/models/*/image_processing_*.py).
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from vit_export.core.errors import RequestError
from vit_export.data.preprocessing import Preprocessing

RESAMPLE = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers, which preprocessor_config.json uses."""
RESCALE = 1 / 255
CROP_OF_DEFAULTS = 224

HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
OPENAI = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
EVERY = {
    "do_resize": True,
    "do_center_crop": False,
    "do_rescale": True,
    "do_normalize": True,
    "rescale_factor": RESCALE,
}
CROP = {"do_center_crop": True, "crop_size": 224}
SHORTER = {"size": {"shortest_edge": 224}, "resample": 3}
PROCESSORS: Mapping[str, Mapping[str, Any]] = {
    "ViT": {**EVERY, "size": 224, "resample": 2, **HALF},
    "DeiT": {**EVERY, "size": 256, "resample": 3, **CROP, **HALF},
    "CLIP": {**EVERY, **SHORTER, **CROP, **OPENAI},
    "Bit": {**EVERY, **SHORTER, **CROP, **OPENAI},  # DINOv2's
    "Siglip": {**EVERY, "size": {"height": 224, "width": 224}, "resample": 3, **HALF},
}
"""Classes of image processors to what they do where their file is silent."""
SHORTER_SIDE = {"CLIP", "Bit", "Siglip"}
"""Those to which a size of one number is the shorter side; to the others, both sides."""
WITHOUT = "give --mean, --std and --resize, which then count instead."


def from_processor(
    values: Mapping[str, Any], where: str, *, kind: str | None = None, channels: int = 3
) -> Preprocessing:
    """What the file of an image processor says, for the size of images that it makes.

    Args:
        values: of the file; null stands for what is left out, as in `transformers`.
        where: names the file in errors.
        kind: the class in `PROCESSORS`, where the file does not name one.
        channels: of the images that the model takes.

    Raises:
        RequestError: a step that can't be told or is not built.
    """
    kind = _kind(values, kind, where)
    told = {**PROCESSORS[kind], **{k: v for k, v in values.items() if v is not None}}
    _check_steps(told, where)
    resize = _resize(told["size"], kind, where)
    crop = _pair(told["crop_size"]) if told["do_center_crop"] else resize
    if isinstance(crop, int):
        message = f"{where}: a shorter side of {crop} without a crop: images of any size come out."
        raise RequestError(message, WITHOUT)
    if len(told["image_mean"]) != channels and told["do_normalize"]:
        message = f"{where}: image_mean has {len(told['image_mean'])} values, the model takes "
        raise RequestError(f"{message}{channels} channels.", WITHOUT)
    normal = (told["image_mean"], told["image_std"])
    mean, std = normal if told["do_normalize"] else ([0.0] * channels, [1.0] * channels)
    steps = {
        "mode": "L" if channels == 1 else "RGB",
        "resize": resize,
        "crop": crop,
        "centre": "floor",
        "interpolation": RESAMPLE.get(told["resample"]),
        "mean": mean,
        "std": std,
    }
    return Preprocessing.from_mapping(steps, where)


def from_defaults(
    values: Mapping[str, Any] | None, size: tuple[int, int], channels: int, where: str
) -> Preprocessing | None:
    """A family's documented default, brought to `size`; None where it has none for `channels`."""
    if values is None or len(values["mean"]) != channels:
        return None
    crop = (CROP_OF_DEFAULTS, CROP_OF_DEFAULTS)
    return Preprocessing.from_mapping({"crop": crop, **values}, where).at(size)


def _kind(values: Mapping[str, Any], kind: str | None, where: str) -> str:
    """The class that the file names, in `transformers` 4 or 5, or `kind` where it names none."""
    named = values.get("image_processor_type") or values.get("feature_extractor_type")
    if named is not None:
        kind = re.sub(r"(ImageProcessor(Fast|Pil)?|FeatureExtractor)$", "", str(named))
    if kind is None or kind not in PROCESSORS:
        message = f"{where} is of {named}." if named else f"{where} names no image_processor_type."
        raise RequestError(f"{message} Known are those of {', '.join(PROCESSORS)}.", WITHOUT)
    return kind


def _check_steps(told: Mapping[str, Any], where: str) -> None:
    if not (math.isclose(told["rescale_factor"], RESCALE, rel_tol=1e-6) and told["do_rescale"]):
        raise RequestError(f"{where}: pixels are not scaled by 1/255, which is not built.", WITHOUT)
    if not told["do_resize"]:
        message = f"{where}: do_resize is false: images of any other size would not fit the model."
        raise RequestError(message, "set it to true, or " + WITHOUT)
    if told["do_center_crop"] and "crop_size" not in told:
        raise RequestError(f"{where}: do_center_crop has no crop_size.", "give it in that file.")


def _pair(value: Any) -> tuple[int, int]:
    if isinstance(value, Mapping):
        return int(value["height"]), int(value["width"])
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def _resize(value: Any, kind: str, where: str) -> int | tuple[int, int]:
    """`{"shortest_edge": 256}`, `{"height": 224, "width": 224}`, or 224, which `kind` tells."""
    if isinstance(value, int):
        return value if kind in SHORTER_SIDE else (value, value)
    if isinstance(value, Mapping) and value.keys() not in ({"shortest_edge"}, {"height", "width"}):
        raise RequestError(f"{where}: size {dict(value)} is not built.", WITHOUT)
    if isinstance(value, Mapping) and "shortest_edge" in value:
        return int(value["shortest_edge"])
    return _pair(value)
