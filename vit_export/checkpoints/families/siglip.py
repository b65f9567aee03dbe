"""SigLIP's image tower with Hugging Face's names: CLIP's names, and a probe that pools.

Conventions from SiglipVisionConfig: LayerNorm epsilon 1e-6, tanh GELU. Its image classifier ignores
the probe and pools by the mean.
"""

from dataclasses import replace

from vit_export.checkpoints.families.base import Config, Facts, Family
from vit_export.checkpoints.families.clip import HUGGING_FACE as CLIP
from vit_export.checkpoints.families.clip import LAYER, POST_NORM, TEXT, VISION
from vit_export.checkpoints.families.hf_config import (
    SIGLIP_TYPES,
    find_vision_config,
    read_config,
    read_module,
)
from vit_export.checkpoints.families.huggingface import NO_ANTIALIAS, REQUIRED, SIZES
from vit_export.checkpoints.families.timm import INCEPTION
from vit_export.core.errors import RequestError

CONVENTIONS: Facts = {
    "qkv_layout": "stacked",
    "attention_scale": "head_dim",
    "norm_eps": 1e-6,
    "mlp": "gelu_tanh",
}
HEAD = VISION + r"head\."
UNUSED = {r"text_.*|logit_scale|logit_bias": TEXT}
PREPROCESSING = {"resize": [224, 224], **INCEPTION}

NAMES = {**CLIP.names, POST_NORM: r"head.norm.\1"}


def _read_headless(config: Config) -> Facts:
    """Return facts for a tower without a probe, unless a config.json says that it has one."""
    is_known = config.get("model_type") or config.get("vision_config")
    if is_known and find_vision_config(config).get("vision_use_head", True):
        message = "vision_use_head is true in its config.json, and its tensors have no head."
        raise RequestError(message, "give the whole checkpoint and its own config.json.")
    return read_config(config)


VISION_MODEL = Family(
    name="Hugging Face SigLIP image tower",
    library="transformers",
    marks=(HEAD + r"probe", LAYER + r"self_attn\.q_proj\.weight"),
    names=NAMES
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
    model_types=SIGLIP_TYPES,
    config_sizes=SIZES,
    conventions=CONVENTIONS | {"pool": "map"},
    fixed=frozenset({"pool"}),
    config_facts=read_config,
    module_facts=read_module,
    resampling=NO_ANTIALIAS,
    processor="Siglip",
    preprocessing=PREPROCESSING,
)

HEADLESS = replace(
    VISION_MODEL,
    name="Hugging Face SigLIP image tower without its head",
    marks=(VISION + r"embeddings\.patch_embedding\.weight", LAYER + r"self_attn\.q_proj\.weight"),
    names=NAMES,
    conventions=CONVENTIONS | {"pool": "none"},
    config_facts=_read_headless,
)

CLASSIFIER = replace(
    VISION_MODEL,
    name="Hugging Face SigLIP classifier",
    marks=(r"classifier\.weight", *HEADLESS.marks),
    names=NAMES | {r"classifier\.(\w+)": r"head.classifier.\1"},
    unused=UNUSED | {HEAD + r".*": "the classifier pools by the mean, without the probe"},
    rivals={
        HEAD + r".*": "give --pool mean if it reads the mean of the tokens, as "
        "SiglipForImageClassification does, or --head-from classifier if it reads pooler_output.",
    },
    own_head=VISION_MODEL,
    conventions=CONVENTIONS | {"pool": "mean"},
)
