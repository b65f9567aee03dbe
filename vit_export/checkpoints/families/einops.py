"""Our own names, and the einops ViT of the seed document with its nn.Sequential names.

The seed's module is Sequential(PatchEmbedding, TransformerEncoder, ClassificationHead). Its
conventions are interleaved qkv, an attention scale of 1/sqrt(width), the mean over all tokens, a
norm in the head, and the default epsilon of nn.LayerNorm, 1e-5.
"""

from typing import Any

from torch import nn

from vit_export.checkpoints.families.base import Facts, Family
from vit_export.model.vit.adapt import Resampling

WHOLE_PATCHES = Resampling()
"""einops refuses images that the patches do not divide."""


def _read_our_module(module: nn.Module) -> Facts:
    return {"spec": module.spec}


def _read_seed_module(module: nn.Module) -> Facts:
    """Return the heads, which no tensor shows, and the epsilon of the first norm."""
    modules = list(module.modules())
    heads: Any = next(m.num_heads for m in modules if hasattr(m, "num_heads"))
    norm = next(m for m in modules if isinstance(m, nn.LayerNorm))
    return {"heads": int(heads), "norm_eps": norm.eps}


OURS = Family(
    name="vit-export",
    marks=(r"embedding\.projection\.weight", r"blocks\.0\.attention\.qkv\.weight"),
    names={},
    head_has_bias=False,
    module_facts=_read_our_module,
    resampling=WHOLE_PATCHES,
)

SEED = Family(
    name="einops ViT of the seed document",
    marks=(r"0\.projection\.0\.weight", r"1\.0\.0\.fn\.1\.qkv\.weight"),
    names={
        r"0\.cls_token": "embedding.class_token",
        r"0\.positions": "embedding.positions",
        r"0\.projection\.0\.(\w+)": r"embedding.projection.\1",
        r"1\.(\d+)\.0\.fn\.0\.(\w+)": r"blocks.\1.attention_norm.\2",
        r"1\.(\d+)\.0\.fn\.1\.(qkv|projection)\.(\w+)": r"blocks.\1.attention.\2.\3",
        r"1\.(\d+)\.1\.fn\.0\.(\w+)": r"blocks.\1.mlp_norm.\2",
        r"1\.(\d+)\.1\.fn\.1\.0\.(\w+)": r"blocks.\1.mlp.expand.\2",
        r"1\.(\d+)\.1\.fn\.1\.3\.(\w+)": r"blocks.\1.mlp.contract.\2",
        r"2\.1\.(\w+)": r"head.pooled_norm.\1",
        r"2\.2\.(\w+)": r"head.classifier.\1",
    },
    required=("head.pooled_norm.weight",),
    conventions={
        "qkv_layout": "interleaved",
        "attention_scale": "width",
        "mlp": "gelu",
        "norm_eps": 1e-5,
        "pool": "mean",
        "positions": "all",
    },
    fixed=frozenset({"mlp", "norm_eps", "pool"}),
    module_facts=_read_seed_module,
    resampling=WHOLE_PATCHES,
    preprocessing={"resize": 248, "mean": [0.5] * 3, "std": [0.5] * 3},
)
