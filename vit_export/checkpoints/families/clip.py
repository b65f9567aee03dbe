"""CLIP's image tower, with the names of OpenAI and OpenCLIP, and with those of Hugging Face.

Conventions from OpenAI's clip/model.py: LayerNorm epsilon 1e-5 (nn.LayerNorm), norm before the
blocks, class token, projection without bias. OpenAI's weights use QuickGELU, most of OpenCLIP's the
plain GELU. OpenCLIP's towers pool the class token or the patches, and the final norm stands before
or behind that. No tensor shows which, so that the user has to say it unless a config.json does.
"""

from dataclasses import replace

from vit_export.checkpoints.families import open_clip_config
from vit_export.checkpoints.families.base import Facts, Family, Question
from vit_export.checkpoints.families.hf_config import (
    CLIP_TOWERS,
    CLIP_TYPES,
    read_config,
    read_module,
)
from vit_export.checkpoints.families.huggingface import NO_ANTIALIAS, SIZES
from vit_export.checkpoints.families.timm import TIMM_CLIP

LN_POST = r"visual\.ln_post\.(\w+)"
BLOCK = r"visual\.transformer\.resblocks\.(\d+)\."
VISION = r"(?:vision_model\.)?"
POST_NORM = VISION + r"post_layernorm\.(\w+)"
LAYER = VISION + r"encoder\.(?:layers|layer)\.(\d+)\."
CONVENTIONS: Facts = {
    "qkv_layout": "stacked",
    "attention_scale": "head_dim",
    "norm_eps": 1e-5,
    "pool": "token",
    "positions": "all",
}
TEXT = "it belongs to the text tower"
REQUIRED = ("embedding.class_token", "embedding_norm.weight", "head.norm.weight")
MODEL_TYPES = (*CLIP_TYPES, *CLIP_TOWERS)

OPENAI = Family(
    name="OpenAI or OpenCLIP image tower",
    library="open_clip",
    marks=(r"visual\.transformer\.resblocks\.0\.attn\.in_proj_weight",),
    names={
        r"visual\.class_embedding": "embedding.class_token",
        r"visual\.positional_embedding": "embedding.positions",
        r"visual\.conv1\.(\w+)": r"embedding.projection.\1",
        r"visual\.ln_pre\.(\w+)": r"embedding_norm.\1",
        BLOCK + r"ls_1\.gamma": r"blocks.\1.attention_scale.gamma",
        BLOCK + r"ls_2\.gamma": r"blocks.\1.mlp_scale.gamma",
        BLOCK + r"ln_1\.(\w+)": r"blocks.\1.attention_norm.\2",
        BLOCK + r"attn\.in_proj_(\w+)": r"blocks.\1.attention.qkv.\2",
        BLOCK + r"attn\.out_proj\.(\w+)": r"blocks.\1.attention.projection.\2",
        BLOCK + r"ln_2\.(\w+)": r"blocks.\1.mlp_norm.\2",
        BLOCK + r"mlp\.c_fc\.(\w+)": r"blocks.\1.mlp.expand.\2",
        BLOCK + r"mlp\.c_proj\.(\w+)": r"blocks.\1.mlp.contract.\2",
        LN_POST: r"head.norm.\1",
        r"visual\.proj": "head.classifier.weight",
    },
    unused={r"(?!visual\.).*": TEXT},
    unsupported={r"visual\.attn_pool\..*": "attention pooling"},
    transposed=frozenset({"head.classifier.weight"}),
    required=("embedding.class_token", "head.norm.weight"),
    head_has_bias=False,
    model_types=MODEL_TYPES,
    conventions=CONVENTIONS | {"projects": True},
    questions=(Question(field="pool"),),  # CLIPA averages the patches, in front of the norm
    config_facts=open_clip_config.read_facts,
    config_preprocessing=open_clip_config.read_preprocessing,
    preprocessing=TIMM_CLIP.preprocessing,
)
OPENAI = replace(
    OPENAI,
    norm_behind_pool=replace(
        OPENAI,
        names={**OPENAI.names, LN_POST: r"head.pooled_norm.\1"},
        required=("embedding.class_token", "head.pooled_norm.weight"),
    ),
)

# The norm stands behind the pool: `last_hidden_state` is not normalized.
HUGGING_FACE = Family(
    name="Hugging Face CLIP image tower",
    library="transformers",
    marks=(VISION + r"pre_layrnorm\.weight", LAYER + r"self_attn\.q_proj\.weight"),
    names={
        VISION + r"embeddings\.class_embedding": "embedding.class_token",
        VISION + r"embeddings\.position_embedding\.weight": "embedding.positions",
        VISION + r"embeddings\.patch_embedding\.(\w+)": r"embedding.projection.\1",
        VISION + r"pre_layrnorm\.(\w+)": r"embedding_norm.\1",
        LAYER + r"layer_norm1\.(\w+)": r"blocks.\1.attention_norm.\2",
        LAYER + r"self_attn\.q_proj\.(\w+)": r"blocks.\1.attention.query.\2",
        LAYER + r"self_attn\.k_proj\.(\w+)": r"blocks.\1.attention.key.\2",
        LAYER + r"self_attn\.v_proj\.(\w+)": r"blocks.\1.attention.value.\2",
        LAYER + r"self_attn\.out_proj\.(\w+)": r"blocks.\1.attention.projection.\2",
        LAYER + r"layer_norm2\.(\w+)": r"blocks.\1.mlp_norm.\2",
        LAYER + r"mlp\.fc1\.(\w+)": r"blocks.\1.mlp.expand.\2",
        LAYER + r"mlp\.fc2\.(\w+)": r"blocks.\1.mlp.contract.\2",
        POST_NORM: r"head.pooled_norm.\1",
        r"visual_projection\.weight": "head.classifier.weight",
    },
    unused={
        r"text_.*|logit_scale": TEXT,
        VISION + r"embeddings\.position_ids": "it counts the positions",
    },
    required=("embedding.class_token", "embedding_norm.weight", "head.pooled_norm.weight"),
    head_has_bias=False,
    model_types=MODEL_TYPES,
    conventions=CONVENTIONS,
    fixed=frozenset({"pool"}),
    config_sizes=SIZES,
    config_facts=read_config,
    module_facts=read_module,
    resampling=NO_ANTIALIAS,
    processor="CLIP",
    preprocessing=TIMM_CLIP.preprocessing,
)

# `CLIPForImageClassification` reads the mean of the patches in front of the final norm.
CLASSIFIER = replace(
    HUGGING_FACE,
    name="Hugging Face CLIP classifier",
    marks=(r"classifier\.weight", *HUGGING_FACE.marks),
    names={ours: theirs for ours, theirs in HUGGING_FACE.names.items() if ours != POST_NORM}
    | {r"classifier\.(\w+)": r"head.classifier.\1"},
    unused={**HUGGING_FACE.unused, POST_NORM: "the classifier reads the patches in front of it"},
    rivals={
        POST_NORM: "give --pool patch_mean if it reads the patches in front of that norm, as "
        "CLIPForImageClassification does, or --head-from classifier if it reads pooler_output.",
    },
    own_head=HUGGING_FACE,
    required=("embedding.class_token", "embedding_norm.weight"),
    head_has_bias=True,
    conventions=CONVENTIONS | {"pool": "patch_mean"},
)
