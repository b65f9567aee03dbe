"""torchvision's `vit_b_16`, `vit_b_32`, `vit_l_16`, `vit_l_32` and `vit_h_14`.

Conventions from torchvision/models/vision_transformer.py: LayerNorm epsilon 1e-6, class token,
`in_proj` with rows (qkv h d). The heads are those of its builders, for models of their sizes.
"""

from collections.abc import Mapping
from typing import Any

from torch import nn

from vit_export.checkpoints.families.base import Facts, Family, Question
from vit_export.checkpoints.families.timm import IMAGENET
from vit_export.model.vit.adapt import Resampling

LAYER = r"encoder\.layers\.encoder_layer_(\d+)"
HEADS_BY_WIDTH = {768: 12, 1024: 16, 1280: 16}
HEADS_BY_NAME = {"vit_b_16": 12, "vit_b_32": 12, "vit_l_16": 16, "vit_l_32": 16, "vit_h_14": 16}
SIZES = {(16, 768, 12, 3072), (32, 768, 12, 3072), (16, 1024, 24, 4096), (32, 1024, 24, 4096)}
SIZES |= {(14, 1280, 32, 5120)}
"""Patch size, width, depth and hidden width of the builders."""


def _has_other_sizes(shown: Facts) -> bool:
    sizes = tuple(shown[name] for name in ("patch_size", "width", "depth", "mlp_hidden"))
    return sizes not in SIZES


def _read_config(config: Mapping[str, Any]) -> Facts:
    """Return the heads of the builder that `--arch` names; torchvision writes no config.json."""
    name = config.get("torchvision")
    return {"heads": HEADS_BY_NAME[name]} if name in HEADS_BY_NAME else {}


def _read_module(module: nn.Module) -> Facts:
    attention = next(m for m in module.modules() if isinstance(m, nn.MultiheadAttention))
    norm = next(m for m in module.modules() if isinstance(m, nn.LayerNorm))
    return {"heads": attention.num_heads, "norm_eps": norm.eps}


TORCHVISION = Family(
    name="torchvision",
    library="torchvision",
    marks=(r"encoder\.layers\.encoder_layer_0\.self_attention\.in_proj_weight",),
    names={
        r"class_token": "embedding.class_token",
        r"encoder\.pos_embedding": "embedding.positions",
        r"conv_proj\.(\w+)": r"embedding.projection.\1",
        LAYER + r"\.ln_1\.(\w+)": r"blocks.\1.attention_norm.\2",
        LAYER + r"\.self_attention\.in_proj_(\w+)": r"blocks.\1.attention.qkv.\2",
        LAYER + r"\.self_attention\.out_proj\.(\w+)": r"blocks.\1.attention.projection.\2",
        LAYER + r"\.ln_2\.(\w+)": r"blocks.\1.mlp_norm.\2",
        # files written before torchvision 0.14 have linear_1 and linear_2 in place of 0 and 3
        LAYER + r"\.mlp\.(?:0|linear_1)\.(\w+)": r"blocks.\1.mlp.expand.\2",
        LAYER + r"\.mlp\.(?:3|linear_2)\.(\w+)": r"blocks.\1.mlp.contract.\2",
        r"encoder\.ln\.(\w+)": r"head.norm.\1",
        r"heads\.head\.(\w+)": r"head.classifier.\1",
    },
    required=("embedding.class_token", "embedding.projection.bias", "head.norm.weight"),
    conventions={
        "qkv_layout": "stacked",
        "attention_scale": "head_dim",
        "mlp": "gelu",
        "norm_eps": 1e-6,
        "pool": "token",
        "positions": "all",
        "heads": HEADS_BY_WIDTH,
    },
    fixed=frozenset({"mlp", "pool"}),
    questions=(
        Question(
            field="heads",
            when="sizes that none of torchvision's builders has",
            applies=_has_other_sizes,
        ),
    ),
    config_facts=_read_config,
    module_facts=_read_module,
    resampling=Resampling(antialias=False, align_corners=True),  # as `interpolate_embeddings`
    preprocessing={"resize": 256, "interpolation": "bilinear", **IMAGENET},
)
