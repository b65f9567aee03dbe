"""BEiT and data2vec: a bias by the relative place of two tokens, in timm and in transformers.

Their names are those of timm's `eva` and of Hugging Face's ViT. The table of a block shows the
heads and the grid. Keys have no bias. `fc_norm` and the pooler's norm go with the mean over the
patches. Original checkpoints (microsoft/unilm) have timm's names.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from vit_export.checkpoints.families import eva, huggingface, timm_config
from vit_export.checkpoints.families.base import Facts
from vit_export.checkpoints.families.hf_config import describe_module, read_config
from vit_export.checkpoints.families.timm import ACTIVATIONS, INCEPTION, NORM, UNSUPPORTED
from vit_export.core.errors import RequestError

TABLE = r"relative_position_bias_table"
OURS, OURS_OF_ALL = (
    r"blocks.\1.attention.relative_bias.table",
    "blocks.*.attention.relative_bias.table",
)
UNUSED = {
    r".*relative_position_index": "it follows from the grid",
    r".*mask_token": "it stands for hidden patches, in training only",
}
SHOWN = frozenset({"heads"})
"""What the table of relative positions shows."""
POSITIONS = "use_absolute_position_embeddings"
TABLES = ("use_relative_position_bias", "use_shared_relative_position_bias")
CONVENTIONS: Facts = {"qkv_layout": "stacked", "attention_scale": "head_dim", "mlp": "gelu"}
REPLACEMENTS = (*timm_config.CODE, "swiglu_mlp", "scale_mlp", "attn_head_dim")
"""Arguments of timm's `Beit` that change a part in a way that is not supported."""


def _read_timm_config(config: Mapping[str, Any]) -> Facts:
    """Return the fields of VitSpec that a config.json of timm determines.

    Raises:
        RequestError: one of its arguments is not supported.
    """
    if not config:
        return {}
    own = timm_config.read_arguments(config)
    changed = [name for name in REPLACEMENTS if own.get(name)]
    if changed:
        message = f"{config.get('architecture')} of timm has {changed[0]} of model_args"
        raise RequestError(f"{message}, which is not supported yet.", "export another model.")
    pool = own.get("global_pool", config.get("global_pool", "avg"))
    return {
        "norm_eps": 1e-6,
        "pool": timm_config.read_pool(pool, config, own),
        **timm_config.read_sizes(config, own),
    }


def _read_timm_module(module: nn.Module) -> Facts:
    part: Any = module
    activation = type(part.blocks[0].mlp.act).__name__
    return {
        "mlp": ACTIVATIONS.get(activation, activation),
        "norm_eps": part.blocks[0].norm1.eps,
        "pool": timm_config.translate_pool(part.global_pool),
        "image_size": tuple(part.patch_embed.img_size),
    }


def _read_config(config: Mapping[str, Any]) -> Facts:
    """Return facts from a config.json of transformers."""
    if not config:
        return {}
    facts = read_config(config)
    facts["pool"] = "patch_mean" if config.get("use_mean_pooling", True) else "token"
    if not any(config.get(name) for name in (POSITIONS, *TABLES)):
        facts["positions"] = "none"
    return facts


def _read_module(module: nn.Module) -> Facts:
    return _read_config(describe_module(module))


TIMM = replace(
    eva.EVA,
    name="timm beit",
    marks=(
        r"patch_embed\.proj\.weight",
        rf"(blocks\.0\.attn|rel_pos_bias)\.{TABLE}",
    ),
    names={
        **eva.EVA.names,
        rf"blocks\.(\d+)\.attn\.{TABLE}": OURS,
        rf"rel_pos_bias\.{TABLE}": OURS_OF_ALL,
    },
    unused=UNUSED,
    unsupported=UNSUPPORTED,
    required=(NORM,),
    conventions=CONVENTIONS | {"norm_eps": 1e-6},
    fixed=SHOWN,
    config_facts=_read_timm_config,
    module_facts=_read_timm_module,
    preprocessing={"resize": 248, **INCEPTION},
)
BEIT = replace(
    huggingface.VIT,
    name="Hugging Face BEiT",
    marks=(
        huggingface.EMBEDDING + r"cls_token",
        huggingface.LAYER + r"layernorm_before\.weight",
        rf"(?:[a-z0-9_.]+\.)?(lambda_1|relative_position_bias\.{TABLE}|shared_position_bias\.{TABLE})",
    ),
    is_square=True,
    names={
        huggingface.PREFIX + r"pooler\.layernorm\.(\w+)": r"head.pooled_norm.\1",
        **huggingface.VIT_NAMES,
        huggingface.LAYER + rf"(?:attention\.attention\.)?relative_position_bias\.{TABLE}": OURS,
        huggingface.PREFIX
        + rf"(?:encoder\.relative_position_bias|shared_position_bias)\.{TABLE}": OURS_OF_ALL,
        huggingface.LAYER + r"lambda_1": r"blocks.\1.attention_scale.gamma",
        huggingface.LAYER + r"lambda_2": r"blocks.\1.mlp_scale.gamma",
    },
    unused=UNUSED,
    rivals={},
    required=("embedding.projection.bias", NORM),
    optional_biases=frozenset({"attention.key"}),
    model_types=("beit", "data2vec-vision"),
    config_sizes={theirs: ours for theirs, ours in huggingface.SIZES.items() if ours != "qkv_bias"},
    config_values={"use_relative_position_bias": True},
    conventions=CONVENTIONS | {"norm_eps": 1e-12},
    fixed=SHOWN,
    config_facts=_read_config,
    module_facts=_read_module,
    processor="Beit",
    preprocessing={"resize": [224, 224], **INCEPTION},
)
