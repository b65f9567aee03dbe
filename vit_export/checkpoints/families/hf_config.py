"""Facts from a config.json of Hugging Face `transformers`.

A config.json may leave values out, and a nested one does so wherever a value is its class's own
default. Then the defaults in transformers/models/*/configuration_*.py apply.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from vit_export.checkpoints.families.base import Config, Facts
from vit_export.core.errors import RequestError

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "gelu_python_tanh": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu",
}
"""Values of `hidden_act` to our names; several names there stand for one function."""
VIT = {"num_attention_heads": 12, "hidden_act": "gelu", "layer_norm_eps": 1e-12, "image_size": 224}
CLIP = VIT | {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}
SIGLIP = VIT | {"hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6}
CLIP_TYPES = ("clip", "altclip", "chinese_clip", "clipseg", "metaclip_2")
"""Values of `model_type` of models whose image tower is CLIP's."""
CLIP_TOWERS = tuple(f"{name}_vision_model" for name in CLIP_TYPES)
SIGLIP_TYPES = ("siglip", "siglip_vision_model")
TIPS_TYPES = ("tipsv2", "tipsv2_vision_model")
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    **dict.fromkeys(("vit", "deit", "vit_mae", "ijepa", "beit", "data2vec-vision"), VIT),
    "vit_msn": VIT | {"layer_norm_eps": 1e-6},
    **dict.fromkeys(("dinov2", "dinov2_with_registers"), VIT | {"layer_norm_eps": 1e-6}),
    **dict.fromkeys(TIPS_TYPES, VIT | {"layer_norm_eps": 1e-6, "image_size": 448}),
    "dinov3_vit": VIT | {"num_attention_heads": 6, "layer_norm_eps": 1e-5},
    **dict.fromkeys((*CLIP_TYPES, *CLIP_TOWERS), CLIP),
    **dict.fromkeys(SIGLIP_TYPES, SIGLIP),
}
"""Defaults of the configuration classes, by `model_type`."""
UNSUPPORTED_TYPES = {
    **dict.fromkeys(("mlcd", "mlcd_vision_model"), "rotary positions are"),
    **dict.fromkeys(("siglip2", "siglip2_vision_model"), "images of any grid (NaFlex) are"),
}
"""Values of `model_type` of models that look like ours, with a part that is not supported."""
OTHER_ANSWERS = r".*Backbone|.*For(?!ImageClassification|PreTraining|MaskedImageModeling).*"
"""Classes of `transformers` that answer neither logits of an image nor features nor tokens."""
NAMES = {"num_attention_heads": "heads", "layer_norm_eps": "norm_eps"}


def find_vision_config(config: Config) -> Config:
    """Return the part of a config.json that describes the image tower; it may be all of it.

    `vision_config_dict`, which old files of CLIP have, takes precedence as in `transformers`: it
    and the defaults that complete it replace what stands in `vision_config`.
    """
    old = config.get("vision_config_dict")
    if isinstance(old, Mapping):
        kind = str(config.get("model_type"))
        return {**(config.get("vision_config") or {}), **DEFAULTS.get(kind, {}), **old}
    if config.get("model_type") in (*CLIP_TYPES, "siglip"):
        return config.get("vision_config") or {}
    inner: Config = config.get("vision_config", config)
    return inner


def read_config(config: Config) -> Facts:
    """Return facts from a vision configuration, or from a CLIP configuration that contains one."""
    if not config:
        return {}
    inner = find_vision_config(config)
    kind = inner.get("model_type", config.get("model_type"))
    values = {**DEFAULTS.get(str(kind), {}), **{k: v for k, v in inner.items() if v is not None}}
    facts: Facts = {ours: values[theirs] for theirs, ours in NAMES.items() if theirs in values}
    if "hidden_act" in values:  # `infer_spec` refuses an unknown one by its name
        facts["mlp"] = ACTIVATIONS.get(values["hidden_act"], values["hidden_act"])
    if "image_size" in values:
        facts["image_size"] = parse_size(values["image_size"])
    return facts


def parse_size(size: Any) -> tuple[int, int]:
    """Return (height, width) of a size in a config.json, which may be one side."""
    height, width = size if isinstance(size, list | tuple) else (size, size)
    return int(height), int(width)


def read_module(module: nn.Module) -> Facts:
    """Return facts from the configuration of a module in memory."""
    return read_config(describe_module(module))


def describe_module(module: nn.Module) -> dict[str, Any]:
    """Return the configuration of a module in memory as a config.json would have it."""
    config: Any = module.config
    return {**config.to_dict(), "architectures": [type(module).__name__]}


def list_architectures(config: Config) -> Sequence[str]:
    """Return the classes of `transformers` that a config.json names, mostly one."""
    return [str(name) for name in config.get("architectures") or ()]


def is_classifier(config: Config) -> bool:
    """Return whether a config.json names a class of `transformers` that classifies images."""
    return any(re.match(r".*ForImageClassification", name) for name in list_architectures(config))


def check_supported(config: Config, where: str, *, needs_head: bool = True) -> None:
    """Raise RequestError unless a config.json is of a model whose answer and parts are supported.

    Args:
        config: content of the config.json; empty without one.
        where: the checkpoint, for the error.
        needs_head: False if the request leaves out what stands behind the last block.
    """
    kinds = {part.get("model_type") for part in (config, find_vision_config(config))}
    part = next((UNSUPPORTED_TYPES[kind] for kind in kinds if kind in UNSUPPORTED_TYPES), None)
    if part is not None:
        raise RequestError(f"{where}: {part} not supported yet.", "export another model.")
    names = [name for name in list_architectures(config) if re.fullmatch(OTHER_ANSWERS, name)]
    for name in names if needs_head else ():
        message = f"{where}: its config.json names a {name}, whose answer is not supported yet."
        tokens = "give --outputs tokens for the tokens behind the last block and the final norm."
        raise RequestError(message, tokens if "Backbone" in name else "export another model.")
