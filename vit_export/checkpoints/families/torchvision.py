"""torchvision's `vit_b_16`, `vit_b_32`, `vit_l_16`, `vit_l_32` and `vit_h_14`.

Conventions from torchvision/models/vision_transformer.py: LayerNorm epsilon 1e-6, class token,
`in_proj` with rows (qkv h d). Its builders derive the heads from the width.
"""

from torch import nn

from vit_export.checkpoints.families.base import Facts, Family
from vit_export.checkpoints.families.timm import IMAGENET
from vit_export.model.vit.adapt import Resampling

LAYER = r"encoder\.layers\.encoder_layer_(\d+)"
HEADS_BY_WIDTH = {768: 12, 1024: 16, 1280: 16}


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
        r"heads\.(?:head|0)\.(\w+)": r"head.classifier.\1",
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
    module_facts=_read_module,
    resampling=Resampling(antialias=False, align_corners=True),  # as `interpolate_embeddings`
    preprocessing={"resize": 256, "interpolation": "bilinear", **IMAGENET},
)
