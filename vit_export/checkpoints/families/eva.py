"""timm's `eva`: EVA, EVA-02, DINOv3, Perception Encoder and the ViTs with rotary positions.

No tensor shows by which angles queries and keys turn, so that the name of the architecture decides:
that of a config.json or of `--arch`. Keys have no bias where queries and values have one of their
own. `fc_norm` goes with the mean over the patches, as in `vision_transformer`.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from vit_export.checkpoints.families import timm_config
from vit_export.checkpoints.families.base import UNKNOWN, Facts
from vit_export.checkpoints.families.eva_architectures import list_arguments, read_rotary
from vit_export.checkpoints.families.timm import (
    ACTIVATIONS,
    NAMES,
    NORM,
    POOL_NAMES,
    TIMM,
    UNSUPPORTED,
)
from vit_export.core.errors import RequestError

NORMLESS = r"vit_pe_(lang|spatial)_.*"
"""Names of architectures without a norm behind the blocks."""
REPLACEMENTS = (
    *timm_config.CODE,
    "attn_only_layer_scale",
    "dynamic_img_pad",
    "num_kv_heads",
    "qk_norm",
    "use_post_norm",
)
"""Arguments of `Eva` that change a part in a way that is not supported."""
ROPES = {
    "RotaryEmbeddingCat": "cat",
    "RotaryEmbeddingDinoV3": "dinov3",
    "RotaryEmbeddingMixed": "mixed",
}
"""Classes of timm to the values of `rope_type` that build them."""
ROPE_ATTRIBUTES = {
    "rope_temperature": "temperature",
    "rope_grid_indexing": "grid_indexing",
    "rope_grid_offset": "grid_offset",
    "rope_rotate_half": "rotate_half",
    "ref_feat_shape": "ref_feat_shape",
}


def _read_config(config: Mapping[str, Any]) -> Facts:
    """Return the fields of VitSpec that a config.json of timm determines.

    Raises:
        RequestError: the architecture or one of its arguments is not supported.
    """
    if not config:
        return {}
    architecture = str(config.get("architecture", ""))
    own = timm_config.read_arguments(config)
    changed = [name for name in REPLACEMENTS if own.get(name)]
    if changed:
        message = f"{architecture} of timm has {changed[0]} of model_args"
        raise RequestError(f"{message}, which is not supported yet.", "export another model.")
    arguments = {**list_arguments(architecture), **own}
    pool = own.get("global_pool", config.get("global_pool", arguments["global_pool"]))
    heads, pool_heads = arguments["num_heads"], arguments.get("attn_pool_num_heads")
    return {
        "heads": heads,
        "mlp": "gelu",
        "norm_eps": arguments["norm_eps"],
        "pool": timm_config.read_pool(pool, config, own),
        "positions": "patches" if arguments["no_embed_class"] else "all",
        "pool_heads": _differing(pool_heads, heads, pool),
        "rotary": read_rotary(arguments),
        **timm_config.read_sizes(config, own),
    }


def _differing(pool_heads: int | None, heads: int | None, pool: str) -> int | None:
    """Return the number of heads of the pool, if it is not that of the blocks."""
    return pool_heads if pool == "map" and pool_heads != heads else None


def _lacks_norm(config: Mapping[str, Any]) -> bool:
    has_norm = timm_config.read_arguments(config).get("use_post_transformer_norm")
    normless = re.fullmatch(NORMLESS, str(config.get("architecture", "")))
    return has_norm is False or (has_norm is None and normless is not None)


def _read_module(module: nn.Module) -> Facts:
    """Return what the attributes of a module of timm say.

    Raises:
        RequestError: its blocks or its rotary positions are not supported.
    """
    part: Any = module
    block, rope = part.blocks[0], part.rope
    if type(block).__name__ != "EvaBlock":
        message = f"{type(block).__name__} of timm is not supported yet."
        raise RequestError(message, "export another model.")
    arguments: dict[str, Any] = {"use_rot_pos_emb": rope is not None}
    if rope is not None:
        arguments["rope_type"] = ROPES.get(type(rope).__name__, type(rope).__name__)
        arguments |= {name: getattr(rope, own, None) for name, own in ROPE_ATTRIBUTES.items()}
        arguments = {name: value for name, value in arguments.items() if value is not None}
    activation = type(block.mlp.act).__name__
    heads = block.attn.num_heads
    pool_heads = part.attn_pool.num_heads if part.attn_pool is not None else None
    return {
        "heads": heads,
        "mlp": ACTIVATIONS.get(activation, activation),
        "norm_eps": block.norm1.eps,
        "pool": timm_config.translate_pool(part.global_pool),
        "positions": "patches" if part.no_embed_class else "all",
        "pool_heads": _differing(pool_heads, heads, part.global_pool),
        "rotary": read_rotary(arguments),
        "image_size": tuple(part.patch_embed.img_size),
    }


EVA = replace(
    TIMM,
    name="timm eva",
    marks=(
        r"patch_embed\.proj\.weight",
        r"blocks\.0\.(attn\.q_bias|attn\.q_proj\.weight|gamma_1)",
    ),
    names=NAMES
    | POOL_NAMES
    | {
        r"blocks\.(\d+)\.attn\.q_bias": r"blocks.\1.attention.query.bias",
        r"blocks\.(\d+)\.attn\.v_bias": r"blocks.\1.attention.value.bias",
        r"blocks\.(\d+)\.attn\.q_proj\.(\w+)": r"blocks.\1.attention.query.\2",
        r"blocks\.(\d+)\.attn\.k_proj\.(\w+)": r"blocks.\1.attention.key.\2",
        r"blocks\.(\d+)\.attn\.v_proj\.(\w+)": r"blocks.\1.attention.value.\2",
        r"blocks\.(\d+)\.gamma_1": r"blocks.\1.attention_scale.gamma",
        r"blocks\.(\d+)\.gamma_2": r"blocks.\1.mlp_scale.gamma",
        r"blocks\.(\d+)\.mlp\.fc1_g\.(\w+)": r"blocks.\1.mlp.gate.\2",
        r"blocks\.(\d+)\.mlp\.fc1_x\.(\w+)": r"blocks.\1.mlp.up.\2",
        r"rope\.freqs": "blocks.*.attention.rotation.frequencies",
    },
    unsupported=UNSUPPORTED,
    optional_biases=frozenset({"attention.key"}),
    required=(NORM,),
    lacks_norm=_lacks_norm,
    conventions={
        "qkv_layout": "stacked",
        "attention_scale": "head_dim",
        "mlp": "gelu",
        "norm_eps": 1e-6,
        "rotary": UNKNOWN,
    },
    block="",
    is_shared=False,
    questions=(),
    config_facts=_read_config,
    module_facts=_read_module,
    preprocessing=None,
    preprocessing_variants={},
)

# The Perception Encoder has the names of a CLIP tower, but for a pool with a probe or no last norm.
PE_CORE = replace(
    EVA,
    name="timm eva with norm_pre and attn_pool (Perception Encoder)",
    marks=(*TIMM.marks, r"norm_pre\.weight", r"attn_pool\.latent"),
)
PE = replace(
    EVA,
    name="timm eva with norm_pre and no norm behind the blocks (Perception Encoder)",
    marks=(*TIMM.marks, r"norm_pre\.weight"),
    lacks=(r"(norm|fc_norm)\.weight",),
)
