"""Facts and preprocessing from timm's config.json, as `timm.models.save_for_hf` writes it.

It names the architecture, and changes to it under `model_args`. Files of 2021 and 2022 have one
level: what later stands in `pretrained_cfg` stands beside the name.
"""

from collections.abc import Mapping
from math import floor
from typing import Any

from vit_export.checkpoints.families.base import Facts
from vit_export.checkpoints.families.timm_architectures import (
    find_unsupported,
    read_architecture_facts,
)
from vit_export.core.errors import RequestError
from vit_export.data.preprocessing import choose_mode

POOLS = {"token": "token", "avg": "patch_mean", "map": "map", "": "none"}
CODE = ("block_fn", "attn_layer", "mlp_layer", "norm_layer", "embed_layer", "embed_norm_layer")
"""Arguments that replace the code of a part; the tensors need not show that."""
ACTIVATION_NAMES = {"quickgelu": "quick_gelu", "gelu_pytorch_tanh": "gelu_tanh"}
"""Values of `act_layer` to our names of activations, where they differ."""


def read_facts(config: Mapping[str, Any]) -> Facts:
    """Return the fields of VitSpec that a config.json of timm determines.

    Raises:
        RequestError: the blocks or the pool of the architecture are not supported.
    """
    architecture, arguments = str(config.get("architecture", "")), read_arguments(config)
    _check_plain(architecture, arguments)
    facts = read_architecture_facts(architecture)
    pool = arguments.get("global_pool", config.get("global_pool", facts.get("pool")))
    if pool is not None:
        facts["pool"] = read_pool(pool, config, arguments)
    if "num_heads" in arguments:
        facts["heads"] = arguments["num_heads"]
    if "act_layer" in arguments:  # `infer_spec` refuses an unknown one by its name
        facts["mlp"] = ACTIVATION_NAMES.get(arguments["act_layer"], arguments["act_layer"])
    if "no_embed_class" in arguments:
        facts["positions"] = "patches" if arguments["no_embed_class"] else "all"
    return facts | read_sizes(config, arguments)


def translate_pool(name: str) -> str:
    """Return our name of the pool `name` in timm; VitSpec refuses an unknown one by its name."""
    return POOLS.get(name, f"{name} of timm")


def read_preprocessing(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the evaluation transform of `timm.data.create_transform`, if the config has one.

    Raises:
        RequestError: the transform crops in a way that is not supported.
    """
    settings = _read_settings(config)
    if not {"input_size", "mean", "std"} <= settings.keys():
        return None
    channels = read_arguments(config).get("in_chans", settings["input_size"][0])
    mean, std = (
        list(settings[name]) * (channels if len(settings[name]) == 1 else 1)
        for name in ("mean", "std")
    )
    if len(mean) != channels:  # timm wrote those of the colours in the weights it began with
        return None
    crop = tuple(settings["input_size"][1:])
    scaled = tuple(floor(side / settings.get("crop_pct", 0.875)) for side in crop)
    mode = settings.get("crop_mode", "center")
    if mode != "squash" and (mode != "center" or crop[0] != crop[1]):
        message = f"crop_mode {mode!r} of timm for {crop} is not supported yet."
        raise RequestError(message, "give --mean, --std and --resize, which replace it.")
    return {
        "mode": choose_mode(channels),
        "resize": scaled if mode == "squash" else scaled[0],
        "crop": crop,
        "interpolation": settings.get("interpolation", "bilinear"),
        "mean": mean,
        "std": std,
    }


def read_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that differ from the architecture's own; null counts as left out."""
    arguments = config.get("model_args") or {}
    return {name: value for name, value in arguments.items() if value is not None}


def _read_settings(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what timm calls `pretrained_cfg`; older files have it at their top level."""
    settings: Mapping[str, Any] = config.get("pretrained_cfg", config)
    return settings


def read_pool(pool: str, config: Mapping[str, Any], arguments: Mapping[str, Any]) -> str:
    """Return our name of the pool.

    Raises:
        RequestError: a classifier reads every token.
    """
    if pool == "" and config.get("num_classes", 0):
        message = "global_pool '' of timm gives every token its own logits"
        raise RequestError(f"{message}, which is not supported yet.", "export another model.")
    if pool == "avg" and arguments.get("pool_include_prefix"):
        return "mean"
    return translate_pool(pool)


def read_sizes(config: Mapping[str, Any], arguments: Mapping[str, Any]) -> Facts:
    """Return the size of the training images, where the config has it.

    `likely_size` is the size of the preprocessing, at which a model need not have been trained.
    """
    if "img_size" in arguments:
        size = arguments["img_size"]
        return {"image_size": (size, size) if isinstance(size, int) else tuple(size)}
    settings = _read_settings(config)
    return {"likely_size": tuple(settings["input_size"][1:])} if "input_size" in settings else {}


def _check_plain(architecture: str, arguments: Mapping[str, Any]) -> None:
    """Raise RequestError unless the architecture has plain blocks."""
    replacements = [f"{name} of model_args" for name in CODE if name in arguments]
    part = find_unsupported(architecture)
    if replacements or part:
        message = f"{architecture or 'the model'} of timm has {part or replacements[0]}"
        raise RequestError(f"{message}, which is not supported yet.", "export another model.")
