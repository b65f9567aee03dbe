"""DINOv3 of Hugging Face `transformers`: `DINOv3ViTModel`.

Conventions are those of its configuration class and of the published models: rotary positions of
base 100, epsilon 1e-5, no bias of the keys, and 64 channels in each head but for the largest, which
has 128. The gated MLP of the larger models is silu(gate) * up.
"""

from dataclasses import replace
from typing import Any

from torch import nn

from vit_export.checkpoints.families.base import Config, Facts, Family
from vit_export.checkpoints.families.hf_config import describe_module, read_config
from vit_export.checkpoints.families.huggingface import NO_ANTIALIAS, SIZES
from vit_export.checkpoints.families.timm import IMAGENET
from vit_export.core.errors import RequestError
from vit_export.model.vit.rotary import Rotary

PREFIX = r"(?:[a-z0-9_]+\.)?"
LAYER = PREFIX + r"(?:model\.)?layer\.(\d+)\."
EMBEDDING = PREFIX + r"embeddings\."
HEADS = {384: 6, 768: 12, 1024: 16, 1280: 20, 4096: 32}
"""Widths of the published models to their numbers of heads."""
OPTIONAL_BIASES = frozenset(
    {
        *("attention.query", "attention.key", "attention.value", "attention.projection"),
        *("mlp.gate", "mlp.up", "mlp.expand", "mlp.contract"),
    }
)
GATES = ("silu", "swish")
"""Values of `hidden_act` that a gated MLP has; both are one function."""


def _read_config(config: Config) -> Facts:
    """Return facts from a config.json.

    Raises:
        RequestError: queries alone or values alone have a bias, or a gate is not supported.
    """
    if not config:
        return {}
    if config.get("query_bias", True) != config.get("value_bias", True):
        message = "its config.json says query_bias and value_bias differently, which is not "
        raise RequestError(f"{message}supported yet.", "export another model.")
    facts = read_config(config)
    if "image_size" not in config:
        facts.pop("image_size", None)  # any size is as good, and 224 is assumed
    facts |= {"rotary": Rotary(base=float(config.get("rope_theta", 100.0)))}
    if config.get("use_gated_mlp", False):
        gate = config.get("hidden_act", "gelu")
        if gate not in GATES:
            message = f"its MLP has a gate of {gate}, which is not supported yet."
            raise RequestError(message, "export another model.")
        facts["mlp"] = "swiglu"
    return facts


def _read_module(module: nn.Module) -> Facts:
    return _read_config(describe_module(module))


NAMES = {
    EMBEDDING + r"cls_token": "embedding.class_token",
    EMBEDDING + r"register_tokens": "embedding.register_tokens",
    EMBEDDING + r"patch_embeddings\.(\w+)": r"embedding.projection.\1",
    LAYER + r"norm1\.(\w+)": r"blocks.\1.attention_norm.\2",
    LAYER + r"attention\.q_proj\.(\w+)": r"blocks.\1.attention.query.\2",
    LAYER + r"attention\.k_proj\.(\w+)": r"blocks.\1.attention.key.\2",
    LAYER + r"attention\.v_proj\.(\w+)": r"blocks.\1.attention.value.\2",
    LAYER + r"attention\.o_proj\.(\w+)": r"blocks.\1.attention.projection.\2",
    LAYER + r"layer_scale1\.lambda1": r"blocks.\1.attention_scale.gamma",
    LAYER + r"norm2\.(\w+)": r"blocks.\1.mlp_norm.\2",
    LAYER + r"mlp\.up_proj\.(\w+)": r"blocks.\1.mlp.expand.\2",
    LAYER + r"mlp\.down_proj\.(\w+)": r"blocks.\1.mlp.contract.\2",
    LAYER + r"layer_scale2\.lambda1": r"blocks.\1.mlp_scale.gamma",
    PREFIX + r"norm\.(\w+)": r"head.norm.\1",
}
CONVENTIONS: dict[str, Any] = {
    "qkv_layout": "stacked",
    "attention_scale": "head_dim",
    "mlp": "gelu",
    "norm_eps": 1e-5,
    "heads": HEADS,
    "pool": "token",
    "positions": "none",
    "rotary": Rotary(),
    "likely_size": (224, 224),
}

DINOV3 = Family(
    name="Hugging Face DINOv3",
    library="transformers",
    marks=(
        EMBEDDING + r"cls_token",
        EMBEDDING + r"patch_embeddings\.weight",
        LAYER + r"layer_scale1\.lambda1",
    ),
    names=NAMES,
    optional_biases=OPTIONAL_BIASES,
    unused={EMBEDDING + r"mask_token": "it stands for hidden patches, in training only"},
    required=("embedding.projection.bias", "head.norm.weight"),
    model_types=("dinov3_vit",),
    config_sizes={theirs: ours for theirs, ours in SIZES.items() if ours != "qkv_bias"}
    | {"query_bias": "qkv_bias", "value_bias": "qkv_bias"},
    conventions=CONVENTIONS,
    config_facts=_read_config,
    module_facts=_read_module,
    takes_any_size=True,
    resampling=NO_ANTIALIAS,
    processor="DINOv3ViT",
    preprocessing={"resize": [224, 224], **IMAGENET},
)
GATED = replace(
    DINOV3,
    name="Hugging Face DINOv3 with a gated MLP",
    marks=(*DINOV3.marks, LAYER + r"mlp\.gate_proj\.weight"),
    names=NAMES
    | {
        LAYER + r"mlp\.gate_proj\.(\w+)": r"blocks.\1.mlp.gate.\2",
        LAYER + r"mlp\.up_proj\.(\w+)": r"blocks.\1.mlp.up.\2",
    },
    config_values={"use_gated_mlp": True, "hidden_act": "silu"},
    conventions=CONVENTIONS | {"mlp": "swiglu"},
)
