"""timm's `vision_transformer`, and the original DINOv2, whose names differ in a few places.

Conventions from timm/models/vision_transformer.py: LayerNorm epsilon 1e-6 (1e-5 for CLIP towers,
which have `norm_pre`), stacked qkv. `fc_norm` goes with the mean over the patches, `norm` with the
class token. DINOv2's vision_transformer.py has epsilon 1e-6 as well.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from vit_export.checkpoints.families import timm_config
from vit_export.checkpoints.families.base import Facts, Family, Question
from vit_export.model.vit.adapt import Resampling

NAMES = {
    r"cls_token": "embedding.class_token",
    r"dist_token": "embedding.distillation_token",
    r"reg_token": "embedding.register_tokens",
    r"pos_embed": "embedding.positions",
    r"patch_embed\.proj\.(\w+)": r"embedding.projection.\1",
    r"norm_pre\.(\w+)": r"embedding_norm.\1",
    r"blocks\.(\d+)\.norm1\.(\w+)": r"blocks.\1.attention_norm.\2",
    r"blocks\.(\d+)\.attn\.qkv\.(\w+)": r"blocks.\1.attention.qkv.\2",
    r"blocks\.(\d+)\.attn\.norm\.(\w+)": r"blocks.\1.attention.norm.\2",
    r"blocks\.(\d+)\.attn\.proj\.(\w+)": r"blocks.\1.attention.projection.\2",
    r"blocks\.(\d+)\.ls1\.gamma": r"blocks.\1.attention_scale.gamma",
    r"blocks\.(\d+)\.norm2\.(\w+)": r"blocks.\1.mlp_norm.\2",
    r"blocks\.(\d+)\.mlp\.fc1\.(\w+)": r"blocks.\1.mlp.expand.\2",
    r"blocks\.(\d+)\.mlp\.norm\.(\w+)": r"blocks.\1.mlp.norm.\2",
    r"blocks\.(\d+)\.mlp\.fc2\.(\w+)": r"blocks.\1.mlp.contract.\2",
    r"blocks\.(\d+)\.ls2\.gamma": r"blocks.\1.mlp_scale.gamma",
    r"norm\.(\w+)": r"head.norm.\1",
    r"fc_norm\.(\w+)": r"head.pooled_norm.\1",
    r"head\.(\w+)": r"head.classifier.\1",
    r"head_dist\.(\w+)": r"head.distillation_classifier.\1",
}
POOL_NAMES = {
    r"attn_pool\.latent": "head.attention_pool.probe",
    r"attn_pool\.q\.(\w+)": r"head.attention_pool.query.\1",
    r"attn_pool\.kv\.(\w+)": r"head.attention_pool.key_value.\1",
    r"attn_pool\.proj\.(\w+)": r"head.attention_pool.projection.\1",
    r"attn_pool\.norm\.(\w+)": r"head.attention_pool.norm.\1",
    r"attn_pool\.mlp\.fc1\.(\w+)": r"head.attention_pool.mlp.expand.\1",
    r"attn_pool\.mlp\.fc2\.(\w+)": r"head.attention_pool.mlp.contract.\1",
}
NORM = r"head\.(norm|pooled_norm)\.weight"
NORMLESS = r".*_radio_.*|vit_intern300m_.*"
"""Names of architectures that timm builds with `final_norm=False`."""
UNSUPPORTED = {
    r".*\.[qk]_norm\..*": "query and key norms",
    r".*\.attn\.rel_pos_[hw]": "the use of relative positions (SAM, ViTDet)",
    r"head\.\d+\.(running_mean|running_var|num_batches_tracked)": "a batch norm in the head",
}
SCALE = "layer_scale"
CONVENTIONS: Facts = {"qkv_layout": "stacked", "attention_scale": "head_dim"}
ACTIVATIONS = {"GELU": "gelu", "GELUTanh": "gelu_tanh", "QuickGELU": "quick_gelu", "SiLU": "swiglu"}
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
INCEPTION = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}


def _read_module(module: nn.Module) -> Facts:
    block: Any = module.blocks[0]  # type: ignore[index]
    facts = {"heads": block.attn.num_heads, "norm_eps": block.norm1.eps}
    activation = type(block.mlp.act).__name__  # `infer_spec` refuses an unknown one by its name
    facts["mlp"] = ACTIVATIONS.get(activation, activation)
    pool = timm_config.translate_pool(str(getattr(module, "global_pool", "token")))
    if pool == "patch_mean" and getattr(module, "pool_include_prefix", False):
        pool = "mean"
    if isinstance(size := getattr(module.patch_embed, "img_size", None), tuple):
        facts["image_size"] = size
    return facts | {"pool": pool}


def _lacks_norm(config: Mapping[str, Any]) -> bool:
    final_norm = config.get("model_args", {}).get("final_norm")
    architecture = str(config.get("architecture", ""))
    return final_norm is False or bool(final_norm is None and re.fullmatch(NORMLESS, architecture))


TIMM = Family(
    name="timm vision_transformer",
    library="timm",
    marks=(r"blocks\.0\.attn\.qkv\.weight", r"patch_embed\.proj\.weight"),
    names=NAMES,
    unused={r"mask_token|masked_embed": "it stands for hidden patches, in training only"},
    unsupported=UNSUPPORTED | {r"attn_pool\..*": "pooling by attention"},
    required=("embedding.projection.bias", NORM),
    lacks_norm=_lacks_norm,
    model_types=("timm_wrapper",),
    config_sizes={"num_classes": "classes", "num_features": "width"},
    conventions=CONVENTIONS | {"mlp": "gelu", "norm_eps": 1e-6},
    block="pre-norm",
    is_shared=True,
    questions=(
        Question(
            field="block",
            when="neither a class token nor biases of qkv nor a layer scale",  # those of rpn
            applies=lambda shown: not any(map(shown.get, ("class_token", "qkv_bias", SCALE))),
        ),
        Question(
            field="mlp",
            when="no class token, and the norm before the mean (SigLIP without its probe)",
            applies=lambda shown: shown["norm_before_pool"] and not shown["class_token"],
        ),
    ),
    config_facts=timm_config.read_facts,
    config_preprocessing=timm_config.read_preprocessing,
    module_facts=_read_module,
    preprocessing={"resize": 248, **INCEPTION},
    preprocessing_variants={
        ("distillation_token",): {"resize": 248, **IMAGENET},  # DeiT
        ("layer_scale", "class_token"): {"resize": 248, **IMAGENET},  # DeiT-III and DINOv2
        ("norm_in_attention", "norm_in_mlp"): {"resize": 224, **IMAGENET},  # BEiT-3
    },
)

# CLIP towers: no tensor shows whether the activation is QuickGELU, so that none is assumed. The
# epsilon is 1e-5, as in timm's `vit_base_patch32_clip_224`.
TIMM_CLIP = replace(
    TIMM,
    name="timm vision_transformer with norm_pre (CLIP)",
    marks=(*TIMM.marks, r"norm_pre\.weight"),
    is_shared=False,
    questions=(),
    required=(NORM,),
    conventions=CONVENTIONS | {"norm_eps": 1e-5},
    preprocessing_variants={},
    preprocessing={
        "resize": 224,
        "mean": [0.48145466, 0.4578275, 0.40821073],
        "std": [0.26862954, 0.26130258, 0.27577711],
    },
)

# SigLIP towers: no tensor shows which GELU it is, as with CLIP. Their probe attends to every token;
# timm cuts off tokens that are no patches first, where there are any (`pool_include_prefix`).
TIMM_SIGLIP = replace(
    TIMM,
    name="timm vision_transformer with attn_pool (SigLIP)",
    marks=(*TIMM.marks, r"attn_pool\.latent"),
    is_shared=False,
    questions=(),
    names=NAMES | POOL_NAMES,
    unsupported={
        **UNSUPPORTED,
        r"(cls|reg)_token": "a probe that attends to the patches alone",
    },
    conventions=CONVENTIONS | {"norm_eps": 1e-6, "pool": "map"},
    preprocessing_variants={},
    preprocessing={"resize": [224, 224], **INCEPTION},
)

DINOV2 = Family(
    name="DINOv2",
    marks=(r"blocks\.0\.ls1\.gamma", r"mask_token"),
    lacks=(r"blocks\.0\.mlp\.c_fc\.weight",),  # TIPSv2
    names=NAMES
    | {
        r"register_tokens": "embedding.register_tokens",
        r"blocks\.(\d+)\.mlp\.w12\.(\w+)": r"blocks.\1.mlp.expand.\2",
        r"blocks\.(\d+)\.mlp\.w3\.(\w+)": r"blocks.\1.mlp.contract.\2",
    },
    unused={r"mask_token": "it stands for hidden patches, in training only"},
    required=("embedding.class_token", "embedding.projection.bias", "head.norm.weight"),
    model_types=("dinov2", "dinov2_with_registers"),
    conventions=CONVENTIONS
    | {"mlp": "gelu", "norm_eps": 1e-6, "pool": "token", "positions": "no_registers"},
    fixed=frozenset({"mlp", "norm_eps", "pool"}),
    module_facts=lambda module: {"heads": module.num_heads},
    resampling=Resampling(antialias=False, offset=0.1),  # as hubconf.py builds those models
    preprocessing={"resize": 256, **IMAGENET},
)

DINOV2_WITH_REGISTERS = replace(
    DINOV2,
    name="DINOv2 with registers",
    marks=(*DINOV2.marks, r"register_tokens"),
    resampling=Resampling(antialias=True),
)
