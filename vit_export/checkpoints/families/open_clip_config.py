"""Facts and preprocessing from an open_clip_config.json, as open_clip's `push_to_hf_hub` writes it.

Names and defaults are those of `CLIPVisionCfg` in open_clip/model.py and of `PreprocessCfg` in
open_clip/transform.py.
"""

from collections.abc import Collection, Mapping
from typing import Any

from vit_export.checkpoints.families.base import Config, Facts
from vit_export.checkpoints.families.hf_config import parse_size
from vit_export.core.errors import RequestError

POOLS = {"tok": "token", "avg": "patch_mean"}
CUSTOM = ("qk_norm", "scaled_cosine_attn", "scale_heads", "scale_attn_inner", "scale_attn")
CUSTOM_PARTS = (*CUSTOM, "scale_fc", "attentional_pool")
"""Settings that add parts to a block or to the head."""
MEAN = [0.48145466, 0.4578275, 0.40821073]
STD = [0.26862954, 0.26130258, 0.27577711]
TRUNK = "visual.trunk."
"""Prefix of a tower of timm."""
TIMM_PATCHES = "patch_embed.proj.weight"
PATCHES = "visual.conv1.weight"


def find_config(config: Config, open_clip: Config, names: Collection[str]) -> Config:
    """Return what describes tensors of these `names`: the open_clip_config.json if it does.

    A tower of timm inside is described as timm does it.

    Args:
        config: content of the config.json, which describes the same model for `transformers`.
        open_clip: content of the open_clip_config.json; empty without one.
        names: names of the tensors, without `visual.trunk.`.
    """
    vision = (open_clip.get("model_cfg") or {}).get("vision_cfg") or {}
    if vision.get("timm_model_name"):
        return _describe_timm(open_clip, vision) if TIMM_PATCHES in names else config
    return open_clip if vision and PATCHES in names else config


def find_trunk(open_clip: Config, names: Collection[str]) -> str | None:
    """Return the prefix of a tower of timm inside, beside the text tower; None without one.

    Raises:
        RequestError: a projection of open_clip's own stands behind it.
    """
    vision = (open_clip.get("model_cfg") or {}).get("vision_cfg") or {}
    has_trunk = any(str(name).startswith(TRUNK) for name in names)
    if not (vision.get("timm_model_name") and has_trunk):
        return None
    if any(str(name).startswith("visual.head.") for name in names):
        message = "The projection of open_clip behind a tower of timm is not supported yet."
        raise RequestError(message, f"give --prefix {TRUNK} for the tower without it.")
    return TRUNK


def read_facts(config: Config) -> Facts:
    """Return the fields of VitSpec that an open_clip_config.json determines.

    Raises:
        RequestError: the tower has a part that is not supported.
    """
    model = config.get("model_cfg")
    if not model:
        return {}
    vision = model["vision_cfg"]
    part = next((name for name in CUSTOM_PARTS if vision.get(name)), None)
    pool = vision.get("pool_type", "tok")
    if part is not None or pool not in POOLS:
        part = part or f"pool_type {pool!r}"
        raise RequestError(f"{part} of open_clip is not supported yet.", "export another model.")
    facts = {
        "heads": vision.get("width", 768) // vision.get("head_width", 64),
        "mlp": _read_activation(model, vision),
        "norm_eps": (vision.get("norm_kwargs") or {}).get("eps", 1e-5),
        "pool": POOLS[pool],
    }
    return facts | {"image_size": parse_size(vision.get("image_size", 224))}


def pools_before_norm(config: Config) -> bool:
    """Return whether an open_clip_config.json puts the final norm behind the pool."""
    vision = (config.get("model_cfg") or {}).get("vision_cfg") or {}
    return bool(vision.get("final_ln_after_pool"))


def read_preprocessing(config: Config) -> dict[str, Any] | None:
    """Return the evaluation transform, if an open_clip_config.json has one.

    Raises:
        RequestError: the images are padded.
    """
    settings = config.get("preprocess_cfg")
    if settings is None or "model_cfg" not in config:
        return None
    size = config["model_cfg"]["vision_cfg"].get("image_size", 224)
    height, width = parse_size(settings.get("size") or size)
    mode = settings.get("resize_mode") or "shortest"
    if mode not in {"shortest", "squash"}:
        message = f"resize_mode {mode!r} of open_clip is not supported yet."
        raise RequestError(message, "give --mean, --std and --resize, which replace it.")
    return {
        "resize": (height, width) if mode == "squash" else max(height, width),
        "crop": (height, width),
        "interpolation": settings.get("interpolation") or "bicubic",
        "mean": list(settings.get("mean") or MEAN),
        "std": list(settings.get("std") or STD),
    }


def _read_activation(model: Mapping[str, Any], vision: Mapping[str, Any]) -> str:
    """Return our name of the activation; `infer_spec` refuses an unknown one by its name."""
    if model.get("quick_gelu"):
        return "quick_gelu"
    approximate = (vision.get("act_kwargs") or {}).get("approximate", "none")
    return {"none": "gelu", "tanh": "gelu_tanh"}.get(approximate, f"gelu of {approximate}")


def _describe_timm(open_clip: Config, vision: Mapping[str, Any]) -> Config:
    """Return the config.json that timm would write for the image tower."""
    pool, steps = vision.get("timm_pool", "avg"), read_preprocessing(open_clip) or {}
    height, width = steps.get("crop") or parse_size(vision.get("image_size", 224))
    settings = {
        "input_size": [3, height, width],
        "crop_pct": 1.0,
        "crop_mode": "squash" if isinstance(steps.get("resize"), tuple) else "center",
    }
    settings |= {name: steps[name] for name in ("mean", "std", "interpolation") if name in steps}
    # without a projection of open_clip's own, timm's classifier is the projection
    rows = 0 if vision.get("timm_proj", "linear") else open_clip["model_cfg"].get("embed_dim", 0)
    return {
        "architecture": vision["timm_model_name"],
        "num_classes": rows,
        "global_pool": pool,
        "model_args": {"global_pool": pool, "num_classes": rows},
        "pretrained_cfg": settings,
    }
