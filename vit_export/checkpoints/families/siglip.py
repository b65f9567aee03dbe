"""SigLIP's image tower with Hugging Face's names: CLIP's names, and a probe that pools.

Conventions from SiglipVisionConfig: LayerNorm epsilon 1e-6, tanh GELU. Its image classifier ignores
the probe and pools by the mean.
"""

from dataclasses import replace

from vit_export.checkpoints.families.base import Facts, Family
from vit_export.checkpoints.families.clip import HUGGING_FACE as CLIP
from vit_export.checkpoints.families.clip import LAYER, TEXT, VISION
from vit_export.checkpoints.families.huggingface import (
    NO_ANTIALIAS,
    REQUIRED,
    SIZES,
    read_config,
    read_module,
)
from vit_export.checkpoints.families.timm import INCEPTION

CONVENTIONS: Facts = {
    "qkv_layout": "stacked",
    "attention_scale": "head_dim",
    "norm_eps": 1e-6,
    "mlp": "gelu_tanh",
}
HEAD = VISION + r"head\."
UNUSED = {r"text_.*|logit_scale|logit_bias": TEXT}
PREPROCESSING = {"resize": [224, 224], **INCEPTION}

VISION_MODEL = Family(
    name="Hugging Face SigLIP image tower",
    library="transformers",
    marks=(HEAD + r"probe", LAYER + r"self_attn\.q_proj\.weight"),
    names={**CLIP.names}
    | {
        HEAD + r"probe": "head.attention_pool.probe",
        HEAD + r"attention\.in_proj_(\w+)": r"head.attention_pool.qkv.\1",
        HEAD + r"attention\.out_proj\.(\w+)": r"head.attention_pool.projection.\1",
        HEAD + r"layernorm\.(\w+)": r"head.attention_pool.norm.\1",
        HEAD + r"mlp\.fc1\.(\w+)": r"head.attention_pool.mlp.expand.\1",
        HEAD + r"mlp\.fc2\.(\w+)": r"head.attention_pool.mlp.contract.\1",
    },
    unused=UNUSED,
    required=REQUIRED,
    model_types=("siglip", "siglip_vision_model"),
    config_sizes=SIZES,
    conventions=CONVENTIONS | {"pool": "map"},
    fixed=frozenset({"pool"}),
    config_facts=read_config,
    module_facts=read_module,
    resampling=NO_ANTIALIAS,
    processor="Siglip",
    preprocessing=PREPROCESSING,
)

CLASSIFIER = replace(
    VISION_MODEL,
    name="Hugging Face SigLIP classifier",
    marks=(r"classifier\.weight", *VISION_MODEL.marks),
    names={**CLIP.names} | {r"classifier\.(\w+)": r"head.classifier.\1"},
    unused=UNUSED | {HEAD + r".*": "the classifier pools by the mean, without the probe"},
    conventions=CONVENTIONS | {"pool": "mean"},
)
