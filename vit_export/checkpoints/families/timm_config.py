"""Facts and preprocessing from timm's config.json, as `timm.models.save_for_hf` writes it.

It names the architecture, and changes to it under `model_args`. The heads and activations of the
architectures are those of timm/models/vision_transformer.py and deit.py.
"""

import re
from collections.abc import Mapping
from math import floor
from typing import Any

from vit_export.checkpoints.families.base import Facts
from vit_export.core.errors import RequestError

POOLS = {"token": "token", "avg": "patch_mean", "map": "map"}
UNSUPPORTED = (
    (r"vit_.*rpn_\d+", "norms behind attention and MLP (ResPostBlock)"),
    (r"vit_pe_.*|vit_.*_rope_.*|.*dinov3.*|.*_lingbot|eva02_.*", "rotary positions (EvaBlock)"),
    (r"vit_.*_\d+x2_\d+", "parallel blocks (ParallelThingsBlock)"),
    (r"vit_.*_xp_\d+|vit_pwee_.*", "parallel attention and MLP (ParallelScalingBlock)"),
    (r"vit_dpwee_.*|vit_dwee_.*|vit_dlittle_.*", "differential attention"),
    (r"naflexvit_.*", "images of any grid (NaFlexVit)"),
)
"""Names of architectures to a part that a plain block does not have; the first match wins."""
CODE = ("block_fn", "attn_layer", "mlp_layer", "norm_layer", "embed_layer", "embed_norm_layer")
"""Arguments that replace the code of a part; the tensors need not show that."""
OURS = r"(vit|deit|deit3|flexivit|eva_large)_.*"
HEADS = (
    (r"vit_base_patch16_gap_.*", {768: 16}),
    (r"vit_giantopt_.*", {1536: 16}),
    (OURS, {64 * heads: heads for heads in (3, 4, 5, 6, 8, 10, 12, 13, 14, 16, 24)}),
    (OURS, dict.fromkeys((1152, 1280, 1408, 1664), 16)),
)
"""Names of architectures to heads by width; the first match wins."""
TANH = (
    r"vit_(base_patch32|giantopt_patch16|so400m_patch16)_siglip_.*|vit_large_.*_siglip_(gap_)?512"
)
ACTIVATIONS = ((r".*_quickgelu_.*", "quick_gelu"), (TANH, "gelu_tanh"), (OURS, "gelu"))
"""Names of architectures to activations; the first match wins."""
ACTIVATION_NAMES = {"quickgelu": "quick_gelu", "gelu_pytorch_tanh": "gelu_tanh"}
"""Values of `act_layer` to our names of activations, where they differ."""


def read_facts(config: Mapping[str, Any]) -> Facts:
    """Return the fields of VitSpec that a config.json of timm determines.

    `heads` may be a mapping from width.

    Raises:
        RequestError: the blocks of the architecture are not supported.
    """
    architecture, arguments = str(config.get("architecture", "")), config.get("model_args", {})
    _check_plain(architecture, arguments)
    facts: Facts = {"heads": _find_heads(architecture), "mlp": _look_up(ACTIVATIONS, architecture)}
    pool = arguments.get("global_pool") or config.get("global_pool", "")
    facts["pool"] = translate_pool(pool)
    if pool == "avg" and arguments.get("pool_include_prefix"):
        facts["pool"] = "mean"
    if "num_heads" in arguments:
        facts["heads"] = arguments["num_heads"]
    if "act_layer" in arguments:  # `infer_spec` refuses an unknown one by its name
        facts["mlp"] = ACTIVATION_NAMES.get(arguments["act_layer"], arguments["act_layer"])
    return {name: value for name, value in facts.items() if value}


def translate_pool(name: str) -> str:
    """Return our name of the pool `name` in timm; VitSpec refuses an unknown one by its name."""
    return POOLS.get(name, f"{name} of timm" if name else "")


def read_preprocessing(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the evaluation transform of `timm.data.create_transform`, if the config has one.

    Raises:
        RequestError: the transform crops in a way that is not supported.
    """
    settings = config.get("pretrained_cfg", {})
    if not {"input_size", "mean", "std"} <= settings.keys():
        return None
    crop = tuple(settings["input_size"][1:])
    scaled = tuple(floor(side / settings.get("crop_pct", 0.875)) for side in crop)
    mode = settings.get("crop_mode", "center")
    if mode != "squash" and (mode != "center" or crop[0] != crop[1]):
        message = f"crop_mode {mode!r} of timm for {crop} is not supported yet."
        raise RequestError(message, "give --mean, --std and --resize, which replace it.")
    return {
        "mode": "L" if settings["input_size"][0] == 1 else "RGB",
        "resize": scaled if mode == "squash" else scaled[0],
        "crop": crop,
        "interpolation": settings.get("interpolation", "bilinear"),
        "mean": list(settings["mean"]),
        "std": list(settings["std"]),
    }


def _check_plain(architecture: str, arguments: Mapping[str, Any]) -> None:
    """Raise RequestError unless the architecture has plain blocks."""
    replacements = [f"{name} of model_args" for name in CODE if name in arguments]
    part = _look_up(UNSUPPORTED, architecture)
    if replacements or part:
        message = f"{architecture or 'the model'} of timm has {part or replacements[0]}"
        raise RequestError(f"{message}, which is not supported yet.", "export another model.")


def _find_heads(architecture: str) -> dict[int, int]:
    tables = [table for pattern, table in HEADS if re.fullmatch(pattern, architecture)]
    return {width: heads for table in reversed(tables) for width, heads in table.items()}


def _look_up(table: tuple[tuple[str, str], ...], architecture: str) -> str | None:
    return next((value for pattern, value in table if re.fullmatch(pattern, architecture)), None)
