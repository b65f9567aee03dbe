"""timm's config.json, as `timm.models.save_for_hf` writes it: what it tells of a model.

It names the architecture, and what was changed of it under `model_args`; the sizes, heads and
activations of the architectures are those of timm/models/vision_transformer.py and deit.py.
"""

import re
from collections.abc import Mapping
from math import floor
from typing import Any

from vit_export.checkpoints.families.base import Facts
from vit_export.core.errors import RequestError

POOLS = {"token": "token", "avg": "patch_mean", "map": "map"}
NOT_BUILT = {
    r"vit_.*rpn_\d+": "norms behind attention and MLP (ResPostBlock)",
    r"vit_pe_.*|vit_.*_rope_.*|.*dinov3.*|.*_lingbot|eva02_.*": "rotary positions (EvaBlock)",
    r"vit_.*_\d+x2_\d+": "parallel blocks (ParallelThingsBlock)",
    r"vit_.*_xp_\d+|vit_pwee_.*": "parallel attention and MLP (ParallelScalingBlock)",
    r"vit_dpwee_.*|vit_dwee_.*|vit_dlittle_.*": "differential attention",
    r"naflexvit_.*": "images of any grid (NaFlexVit)",
}
"""Names of architectures to what they do that a plain block does not."""
CODE = ("block_fn", "attn_layer", "mlp_layer", "norm_layer", "embed_layer", "embed_norm_layer")
"""Arguments that put other code into a model, which its tensors may not show."""
OURS = r"(vit|deit|deit3|flexivit|eva_large)_.*"
HEADS = (
    (r"vit_base_patch16_gap_.*", {768: 16}),
    (r"vit_giantopt_.*", {1536: 16}),
    (OURS, {64 * heads: heads for heads in (3, 4, 5, 6, 8, 10, 12, 13, 14, 16, 24)}),
    (OURS, dict.fromkeys((1152, 1280, 1408, 1664), 16)),
)
"""Names of architectures to heads by width; the first that knows both counts."""
TANH = (
    r"vit_(base_patch32|giantopt_patch16|so400m_patch16)_siglip_.*|vit_large_.*_siglip_(gap_)?512"
)
ACTIVATIONS = ((r".*_quickgelu_.*", "quick_gelu"), (TANH, "gelu_tanh"), (OURS, "gelu"))
"""Names of architectures to activations; the first counts."""
ARGUMENTS = {"quickgelu": "quick_gelu", "gelu_pytorch_tanh": "gelu_tanh"}
"""What `act_layer` may say, where it is not our own word."""


def facts(config: Mapping[str, Any]) -> Facts:
    """The fields of VitSpec that a config.json of timm tells; `heads` may be by width.

    Raises:
        RequestError: an architecture whose blocks are not plain ones.
    """
    architecture, arguments = str(config.get("architecture", "")), config.get("model_args", {})
    _check_plain(architecture, arguments)
    known: Facts = {"heads": _heads(architecture), "mlp": _first(ACTIVATIONS, architecture)}
    pool = arguments.get("global_pool") or config.get("global_pool", "")
    known["pool"] = pool_of(pool)
    if pool == "avg" and arguments.get("pool_include_prefix"):
        known["pool"] = "mean"
    if "num_heads" in arguments:
        known["heads"] = arguments["num_heads"]
    if "act_layer" in arguments:  # one that is not known is refused by VitSpec, by its name
        known["mlp"] = ARGUMENTS.get(arguments["act_layer"], arguments["act_layer"])
    return {name: value for name, value in known.items() if value}


def pool_of(name: str) -> str:
    """Our word for a `global_pool`; one that is not built is refused by VitSpec, by its name."""
    return POOLS.get(name, f"{name} of timm" if name else "")


def preprocessing(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """The evaluation transform of `timm.data.create_transform`; None where the config has none."""
    told = config.get("pretrained_cfg", {})
    if not {"input_size", "mean", "std"} <= told.keys():
        return None
    crop = tuple(told["input_size"][1:])
    scaled = tuple(floor(side / told.get("crop_pct", 0.875)) for side in crop)
    squashed = told.get("crop_mode", "center") == "squash"
    if not squashed and (told.get("crop_mode", "center") != "center" or crop[0] != crop[1]):
        message = (
            f"crop_mode {told.get('crop_mode', 'center')!r} of timm for {crop} is not built yet."
        )
        raise RequestError(message, "give --mean, --std and --resize, which then count instead.")
    return {
        "mode": "L" if told["input_size"][0] == 1 else "RGB",
        "resize": scaled if squashed else scaled[0],
        "crop": crop,
        "interpolation": told.get("interpolation", "bilinear"),
        "mean": list(told["mean"]),
        "std": list(told["std"]),
    }


def _check_plain(architecture: str, arguments: Mapping[str, Any]) -> None:
    changed = [f"{name} of model_args" for name in CODE if name in arguments]
    meaning = next(
        (told for name, told in NOT_BUILT.items() if re.fullmatch(name, architecture)), ""
    )
    if changed or meaning:
        told = f"{architecture or 'the model'} of timm has {meaning or changed[0]}"
        raise RequestError(f"{told}, which is not built yet.", "export another model.")


def _heads(architecture: str) -> dict[int, int]:
    tables = [table for pattern, table in HEADS if re.fullmatch(pattern, architecture)]
    return {width: heads for table in reversed(tables) for width, heads in table.items()}


def _first(table: tuple[tuple[str, str], ...], architecture: str) -> str | None:
    return next((told for pattern, told in table if re.fullmatch(pattern, architecture)), None)
