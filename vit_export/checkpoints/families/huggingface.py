"""Hugging Face `transformers`: ViT, DeiT, DINOv2 and DINOv2 with registers.

Names are those of published files (`encoder.layer.0.attention.attention.query.weight`) or newer
ones (`layers.0.attention.q_proj.weight`), with or without the model's prefix. The default LayerNorm
epsilon is that of their configurations: 1e-12 for ViT and DeiT, 1e-6 for DINOv2.
"""

from dataclasses import replace

from torch import nn

from vit_export.checkpoints.families.base import Config, Facts, Family
from vit_export.checkpoints.families.hf_config import (
    describe_module,
    is_classifier,
    read_config,
    read_module,
)
from vit_export.checkpoints.families.timm import IMAGENET, INCEPTION
from vit_export.model.vit.adapt import Resampling

PREFIX = r"(?:[a-z0-9_]+\.)?"
LAYER = PREFIX + r"(?:encoder\.)?layers?\.(\d+)\."
EMBEDDING = PREFIX + r"embeddings\."
ATTENTION = LAYER + r"attention\."
SHARED = {
    EMBEDDING + r"cls_token": "embedding.class_token",
    EMBEDDING + r"register_tokens": "embedding.register_tokens",
    EMBEDDING + r"position_embeddings": "embedding.positions",
    EMBEDDING + r"patch_embeddings\.projection\.(\w+)": r"embedding.projection.\1",
    ATTENTION + r"(?:attention\.query|q_proj)\.(\w+)": r"blocks.\1.attention.query.\2",
    ATTENTION + r"(?:attention\.key|k_proj)\.(\w+)": r"blocks.\1.attention.key.\2",
    ATTENTION + r"(?:attention\.value|v_proj)\.(\w+)": r"blocks.\1.attention.value.\2",
    ATTENTION + r"(?:output\.dense|o_proj)\.(\w+)": r"blocks.\1.attention.projection.\2",
    LAYER + r"mlp\.fc1\.(\w+)": r"blocks.\1.mlp.expand.\2",
    LAYER + r"mlp\.fc2\.(\w+)": r"blocks.\1.mlp.contract.\2",
    PREFIX + r"layernorm\.(\w+)": r"head.norm.\1",
    r"classifier\.(\w+)": r"head.classifier.\1",
}
VIT_NAMES = SHARED | {
    LAYER + r"layernorm_before\.(\w+)": r"blocks.\1.attention_norm.\2",
    LAYER + r"layernorm_after\.(\w+)": r"blocks.\1.mlp_norm.\2",
    LAYER + r"intermediate\.dense\.(\w+)": r"blocks.\1.mlp.expand.\2",
    LAYER + r"output\.dense\.(\w+)": r"blocks.\1.mlp.contract.\2",
}
CONVENTIONS: Facts = {"qkv_layout": "stacked", "attention_scale": "head_dim", "pool": "token"}
CONVENTIONS |= {"positions": "all"}
NO_ANTIALIAS = Resampling(antialias=False, drops_rim=True)
"""As every `interpolate_pos_encoding` there does, except that of DINOv2 with registers."""
SIZES = {
    "hidden_size": "width",
    "num_hidden_layers": "depth",
    "patch_size": "patch_size",
    "num_channels": "channels",
    "intermediate_size": "mlp_hidden",
    "qkv_bias": "qkv_bias",
    "num_register_tokens": "register_tokens",
}
REQUIRED = ("embedding.projection.bias", "head.norm.weight")
DECODER = r"decoder\.(decoder_\w+|mask_token|0)\b.*"
POOLER = PREFIX + r"pooler\.dense\.(\w+)"
OWN_HEAD = (
    "give --head-from classifier if it reads the class token behind the norm, as in transformers, "
    "or --outputs features, which leaves it out; one over pooler_output is not supported yet."
)
UNUSED = {
    EMBEDDING + r"mask_token": "it stands for hidden patches, in training only",
    POOLER: "features are the class token after the norm, not `pooler_output`, a layer behind it",
}


def _read_dinov2_config(config: Config) -> Facts:
    return read_config(config) | ({"pool": "token_patch_mean"} if is_classifier(config) else {})


def _read_dinov2_module(module: nn.Module) -> Facts:
    return _read_dinov2_config(describe_module(module))


VIT = Family(
    name="Hugging Face ViT",
    library="transformers",
    marks=(EMBEDDING + r"cls_token", LAYER + r"layernorm_before\.weight"),
    names=VIT_NAMES,
    unused=UNUSED | {DECODER: "it rebuilds hidden patches, in training only"},
    rivals={POOLER: OWN_HEAD},
    required=REQUIRED,
    model_types=("vit", "vit_msn", "vit_mae"),  # the same encoder, trained in other ways
    config_sizes=SIZES,
    conventions=CONVENTIONS | {"mlp": "gelu", "norm_eps": 1e-12},
    config_facts=read_config,
    module_facts=read_module,
    resampling=NO_ANTIALIAS,
    processor="ViT",
    preprocessing={"resize": [224, 224], "interpolation": "bilinear", **INCEPTION},
)

# I-JEPA has no class token. Its classifier reads the mean of the tokens; without one the library
# answers all of them.
IJEPA = replace(
    VIT,
    name="Hugging Face I-JEPA",
    marks=(EMBEDDING + r"position_embeddings", LAYER + r"layernorm_before\.weight"),
    model_types=("ijepa",),
    conventions=VIT.conventions | {"pool": "none"},
)
IJEPA_CLASSIFIER = replace(
    IJEPA,
    name="Hugging Face I-JEPA classifier",
    marks=(r"classifier\.weight", *IJEPA.marks),
    conventions=VIT.conventions | {"pool": "mean"},
)

# With a teacher the answer is the mean of two classifiers. Without one the distillation token acts
# as a register: it has a position and no classifier.
DEIT_TEACHER = replace(
    VIT,
    name="Hugging Face DeiT with teacher",
    marks=(EMBEDDING + r"distillation_token", r"distillation_classifier\.weight"),
    names=VIT_NAMES
    | {
        EMBEDDING + r"distillation_token": "embedding.distillation_token",
        r"cls_classifier\.(\w+)": r"head.classifier.\1",
        r"distillation_classifier\.(\w+)": r"head.distillation_classifier.\1",
    },
    processor="DeiT",
    model_types=("deit",),
    preprocessing={"resize": 256, **IMAGENET},
)
DEIT = replace(
    VIT,
    name="Hugging Face DeiT",
    marks=(EMBEDDING + r"distillation_token", LAYER + r"layernorm_before\.weight"),
    names=VIT_NAMES | {EMBEDDING + r"distillation_token": "embedding.register_tokens"},
    processor="DeiT",
    model_types=("deit",),
    preprocessing={"resize": 256, **IMAGENET},
)

DINOV2 = Family(
    name="Hugging Face DINOv2",
    library="transformers",
    marks=(EMBEDDING + r"cls_token", LAYER + r"layer_scale1\.lambda1"),
    names=SHARED
    | {
        LAYER + r"norm1\.(\w+)": r"blocks.\1.attention_norm.\2",
        LAYER + r"norm2\.(\w+)": r"blocks.\1.mlp_norm.\2",
        LAYER + r"layer_scale1\.lambda1": r"blocks.\1.attention_scale.gamma",
        LAYER + r"layer_scale2\.lambda1": r"blocks.\1.mlp_scale.gamma",
        LAYER + r"mlp\.weights_in\.(\w+)": r"blocks.\1.mlp.expand.\2",
        LAYER + r"mlp\.(gate|up)_proj\.(\w+)": r"blocks.\1.mlp.\2.\3",
        LAYER + r"mlp\.(?:weights_out|down_proj)\.(\w+)": r"blocks.\1.mlp.contract.\2",
    },
    unused=UNUSED,
    required=REQUIRED,
    model_types=("dinov2",),
    config_sizes={theirs: ours for theirs, ours in SIZES.items() if ours != "mlp_hidden"},
    conventions=CONVENTIONS | {"mlp": "gelu", "norm_eps": 1e-6, "positions": "no_registers"},
    config_facts=_read_dinov2_config,
    module_facts=_read_dinov2_module,
    takes_any_size=True,
    resampling=NO_ANTIALIAS,
    processor="Bit",
    preprocessing={"resize": 256, **IMAGENET},
)

DINOV2_WITH_REGISTERS = replace(
    DINOV2,
    name="Hugging Face DINOv2 with registers",
    marks=(*DINOV2.marks, EMBEDDING + r"register_tokens"),
    model_types=("dinov2_with_registers",),
    resampling=Resampling(antialias=True, drops_rim=True),
)
