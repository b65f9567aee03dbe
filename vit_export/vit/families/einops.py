"""Our own names, and the einops ViT of the seed document with its nn.Sequential names.

The seed's module is Sequential(PatchEmbedding, TransformerEncoder, ClassificationHead); its
convention is interleaved qkv, a scale of 1/sqrt(width), the mean over all tokens and the norm in
the head.
"""

import re
from collections.abc import Collection
from typing import Any

from torch import Tensor, nn

from vit_export.spec import VitSpec
from vit_export.vit.eager import Vit
from vit_export.vit.families.base import Family, StateDict

SEED_NAMES = {
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
}


def _rename_one(name: str) -> str:
    for pattern, ours in SEED_NAMES.items():
        if re.fullmatch(pattern, name):
            return re.sub(pattern, ours, name)
    return name  # reported as unexpected when the weights are loaded


def _rename(state: StateDict) -> dict[str, Tensor]:
    renamed = {_rename_one(name): tensor for name, tensor in state.items()}
    token = renamed.get("embedding.class_token")
    if token is not None and token.ndim == 3:  # noqa: PLR2004 (1, 1, D) in the seed, (1, D) here
        renamed["embedding.class_token"] = token[0]
    return renamed


def _describe(module: nn.Module) -> VitSpec:
    """The spec of a live seed module; heads, which no tensor tells, from its attribute."""
    state = _rename(module.state_dict())
    width, channels, patch, _ = state["embedding.projection.weight"].shape
    grid = round((len(state["embedding.positions"]) - 1) ** 0.5)  # the seed's images are square
    heads: Any = next(m.num_heads for m in module.modules() if hasattr(m, "num_heads"))
    norm = next(m for m in module.modules() if isinstance(m, nn.LayerNorm))
    return VitSpec(
        image_size=(grid * patch, grid * patch),
        patch_size=patch,
        channels=channels,
        width=width,
        depth=sum(name.endswith("attention.qkv.weight") for name in state),
        heads=int(heads),
        mlp_hidden=len(state["blocks.0.mlp.expand.weight"]),
        qkv_layout="interleaved",
        attention_scale="width",
        norm_before_pool=False,
        norm_after_pool=True,
        norm_eps=norm.eps,
        pool="mean",
        classes=len(state["head.classifier.weight"]),
    )


def _spec_of_ours(module: nn.Module) -> VitSpec:
    spec = module.spec
    assert isinstance(spec, VitSpec)  # noqa: S101 for the type checker: `recognises` saw our names
    return spec


def _recognises_ours(names: Collection[str]) -> bool:
    return {"embedding.positions", "blocks.0.attention.qkv.weight"} <= set(names)


def _recognises_seed(names: Collection[str]) -> bool:
    return {"0.projection.0.weight", "1.0.0.fn.1.qkv.weight"} <= set(names)


OURS = Family(Vit.__module__, _recognises_ours, dict, _spec_of_ours)
SEED = Family("einops ViT of the seed document", _recognises_seed, _rename, _describe)
