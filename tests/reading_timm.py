"""timm's architectures for the sweep `reading`: every one that has published weights."""

import re
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

import timm_models
import torch
from reading_cases import Answers, Case, Example, draw, draw_images, save_state_dict
from torch import Tensor, nn

MODULES = (
    "vision_transformer",
    "deit",
    "vision_transformer_hybrid",
    "vision_transformer_relpos",
    "vision_transformer_sam",
    "eva",
    "beit",
    "naflexvit",
)
ALIKE = ("cait", "convit", "pit", "tnt", "volo", "xcit", "hiera", "vitamin")
"""Modules whose models are no plain ViTs; of each, the names that come first."""
FEW = 2
CLASSES = 5
WIDE = 1024
"""From this width on, one block has more parameters than a model of a test should have."""
MAX_PARAMETERS = 60_000_000
ACTIVATIONS = {"GELU": "gelu", "GELUTanh": "gelu_tanh", "QuickGELU": "quick_gelu"}
POOLS = {"token": "token", "avg": "patch_mean", "map": "map"}
PLAIN_BLOCKS = {"Block"}


def timm_cases() -> Iterator[Case]:
    for module in (*MODULES, *ALIKE):
        names = list_names(module)
        for name in names if module in MODULES else names[:FEW]:
            shape = partial(choose_arguments, name)
            build = partial(build_example, name)
            common = {"library": "timm", "family": module, "name": name, "build": build}
            yield Case(form="bare", save=save_state_dict, **common)
            yield Case(form="folder", save=partial(save_folder, shape), **common)
            arch = {"arch": f"timm:{name}"}
            yield Case(form="arch", save=save_state_dict, hints=arch, **common)


def list_names(module: str) -> list[str]:
    """Architectures of a module of timm with published weights."""
    tags = timm_models.list_models(module=module, pretrained=True)
    return sorted({tag.partition(".")[0] for tag in tags})


@cache
def choose_arguments(name: str) -> Mapping[str, Any] | None:
    """The least changes that make an architecture small; None if it stays large."""
    patch = re.search(r"patch(\d+)", name)
    size = {"img_size": 4 * int(patch[1])} if patch else {"img_size": 64}
    for arguments in ({"depth": 2, **size}, {"depth": 1, **size}, size, {}):
        try:
            with torch.device("meta"):
                module = timm_models.create_model(name, **arguments)
        except Exception:  # noqa: BLE001, S112 timm may refuse an argument in any way
            continue
        wide = getattr(module, "embed_dim", 0)
        if arguments.get("depth") == 2 and isinstance(wide, int) and wide >= WIDE:
            continue
        if sum(p.numel() for p in module.parameters()) <= MAX_PARAMETERS:
            classes = CLASSES if module.num_classes else 0
            return {**arguments, "num_classes": classes}
    return None


@lru_cache(maxsize=2)
def build_example(name: str) -> Example | None:
    """A small model of an architecture, for its three forms; nobody changes it."""
    arguments = choose_arguments(name)
    if arguments is None:
        return None
    module = draw(timm_models.create_model(name, **arguments))
    size = arguments.get("img_size", module.default_cfg["input_size"][-1])
    return Example(
        module=module,
        images=draw_images(module.default_cfg["input_size"][0], size, size),
        answer=answer,
        truth=tell_truth(module) | {"trained_size": f"{size}x{size}"},
        plain=is_plain(module),
    )


def answer(module: nn.Module, images: Tensor) -> Answers:
    if module.num_features >= WIDE:
        return {"default": [module(images)]}  # the others would cost minutes
    tokens = module.forward_features(images)
    return {
        "default": [module(images)],
        "features": [module.forward_head(tokens, pre_logits=True)],
        "tokens": [tokens],
    }


def tell_truth(module: nn.Module) -> dict[str, Any]:
    """What a user knows of a model of timm, as far as there is a word for it."""
    parts = list(module.modules())
    heads = next((m.num_heads for m in parts if isinstance(getattr(m, "num_heads", None), int)), 0)
    block = next((m for m in parts if hasattr(m, "attn") and hasattr(m, "mlp")), None)
    act = type(getattr(getattr(block, "mlp", None), "act", None)).__name__
    pool = getattr(module, "global_pool", None)
    truth = {"heads": getattr(getattr(block, "attn", None), "num_heads", heads) or None}
    truth |= {"activation": ACTIVATIONS.get(act), "pool": POOLS.get(pool)}
    truth["norm_eps"] = getattr(getattr(block, "norm1", None), "eps", None)
    return {name: value for name, value in truth.items() if value is not None}


def is_plain(module: nn.Module) -> bool:
    """Whether a model has the parts of a plain ViT, or of a known one of `eva`, and no others."""
    norms = {type(part).__name__ for part in module.modules()} & {"RmsNorm", "SimpleNorm"}
    blocks = {type(block).__name__ for block in getattr(module, "blocks", ())}
    if type(module).__name__ == "Eva":
        # learned frequencies are one tensor for all blocks, which --arch takes at full depth only
        return blocks == {"EvaBlock"} and not norms and not module.rope_mixed
    if type(module).__name__ not in {"VisionTransformer", "VisionTransformerDistilled"}:
        return False
    names = " ".join(module.state_dict())
    embeds = type(module.patch_embed).__name__ == "PatchEmbed"
    extras = re.search(r"q_norm|rope|pos_embed_win", names)
    known = module.global_pool in {*POOLS, ""} and getattr(module, "pos_embed", None) is not None
    if module.global_pool == "map" and module.num_prefix_tokens:
        return False  # its probe attends to the patches alone
    return blocks <= PLAIN_BLOCKS and embeds and known and not norms and not extras


def save_folder(shape: Any, module: nn.Module, folder: Path) -> Path:
    timm_models.save_for_hf(module, folder, model_args=shape(), safe_serialization=True)
    return folder
