"""Classes of `transformers` for the sweep `reading`, over the values of their configs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from reading_cases import Answers, Case, Example, draw, draw_images, save_state_dict
from torch import Tensor, nn

SMALL = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "image_size": 16,
    "patch_size": 8,
}
MLP = {"intermediate_size": 50}
ROTARY_HEADS = {"num_attention_heads": 2, "num_register_tokens": 3}
TEXT = SMALL | MLP | {"bos_token_id": None, "eos_token_id": None, "vocab_size": 50}
TEXT = {name: value for name, value in TEXT.items() if name not in {"image_size", "patch_size"}}
TABLE = {"use_relative_position_bias": True}
CLASSES = {"num_labels": 5}
DECODER = {
    "decoder_hidden_size": 12,
    "decoder_num_hidden_layers": 1,
    "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 20,
}


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A class of `transformers` with the config of a small model."""

    config: str
    sizes: Mapping[str, Any]
    text: bool = False
    """Whether the config has a `vision_config` for these sizes, and a `text_config`."""
    more: Mapping[str, Any] | None = None
    """Fields of the outer config."""
    pool: str | None = None


def _towers(config: str, pool: str | None = None, **more: Any) -> Kind:
    return Kind(config=config, sizes=SMALL | MLP, text=True, more=more, pool=pool)


KINDS = {
    "ViTForImageClassification": Kind(config="ViTConfig", sizes=SMALL | MLP | CLASSES),
    "ViTModel": Kind(config="ViTConfig", sizes=SMALL | MLP),
    "ViTForMaskedImageModeling": Kind(config="ViTConfig", sizes=SMALL | MLP),
    "ViTMSNForImageClassification": Kind(config="ViTMSNConfig", sizes=SMALL | MLP | CLASSES),
    "ViTMSNModel": Kind(config="ViTMSNConfig", sizes=SMALL | MLP),
    "ViTMAEModel": Kind(config="ViTMAEConfig", sizes=SMALL | MLP | DECODER),
    "ViTMAEForPreTraining": Kind(config="ViTMAEConfig", sizes=SMALL | MLP | DECODER),
    "IJepaModel": Kind(config="IJepaConfig", sizes=SMALL | MLP),
    "IJepaForImageClassification": Kind(config="IJepaConfig", sizes=SMALL | MLP | CLASSES),
    "DeiTForImageClassification": Kind(config="DeiTConfig", sizes=SMALL | MLP | CLASSES),
    "DeiTForImageClassificationWithTeacher": Kind(config="DeiTConfig", sizes=SMALL | MLP | CLASSES),
    "DeiTModel": Kind(config="DeiTConfig", sizes=SMALL | MLP),
    "Dinov2Model": Kind(config="Dinov2Config", sizes=SMALL),
    "Dinov2Backbone": Kind(config="Dinov2Config", sizes=SMALL),
    "Dinov2ForImageClassification": Kind(
        config="Dinov2Config", sizes=SMALL | CLASSES, pool="token_patch_mean"
    ),
    "Dinov2WithRegistersModel": Kind(config="Dinov2WithRegistersConfig", sizes=SMALL),
    "Dinov2WithRegistersBackbone": Kind(config="Dinov2WithRegistersConfig", sizes=SMALL),
    "Dinov2WithRegistersForImageClassification": Kind(
        config="Dinov2WithRegistersConfig", sizes=SMALL | CLASSES, pool="token_patch_mean"
    ),
    "Tipsv2VisionModel": Kind(config="Tipsv2VisionConfig", sizes=SMALL),
    "Tipsv2Model": _towers("Tipsv2Config"),
    "DINOv3ViTModel": Kind(config="DINOv3ViTConfig", sizes=SMALL | ROTARY_HEADS | MLP),
    "DINOv3ViTBackbone": Kind(config="DINOv3ViTConfig", sizes=SMALL | ROTARY_HEADS | MLP),
    "BeitForImageClassification": Kind(config="BeitConfig", sizes=SMALL | MLP | CLASSES | TABLE),
    "BeitModel": Kind(config="BeitConfig", sizes=SMALL | MLP | TABLE),
    "Data2VecVisionForImageClassification": Kind(
        config="Data2VecVisionConfig", sizes=SMALL | MLP | CLASSES | TABLE
    ),
    "Data2VecVisionModel": Kind(config="Data2VecVisionConfig", sizes=SMALL | MLP | TABLE),
    "SiglipVisionModel": Kind(config="SiglipVisionConfig", sizes=SMALL | MLP),
    "SiglipModel": _towers("SiglipConfig"),
    "SiglipForImageClassification": _towers("SiglipConfig", pool="mean", **CLASSES),
    "CLIPVisionModel": Kind(config="CLIPVisionConfig", sizes=SMALL | MLP),
    "CLIPVisionModelWithProjection": Kind(
        config="CLIPVisionConfig", sizes=SMALL | MLP | {"projection_dim": 10}
    ),
    "CLIPModel": _towers("CLIPConfig", projection_dim=10),
    "CLIPForImageClassification": _towers("CLIPConfig", pool="patch_mean", **CLASSES),
    "MetaClip2VisionModel": Kind(config="MetaClip2VisionConfig", sizes=SMALL | MLP),
    "MetaClip2VisionModelWithProjection": Kind(
        config="MetaClip2VisionConfig", sizes=SMALL | MLP | {"projection_dim": 10}
    ),
    "MetaClip2Model": _towers("MetaClip2Config", projection_dim=10),
    "ChineseCLIPVisionModel": Kind(config="ChineseCLIPVisionConfig", sizes=SMALL | MLP),
    "ChineseCLIPModel": _towers("ChineseCLIPConfig", projection_dim=10),
    "AltCLIPVisionModel": Kind(config="AltCLIPVisionConfig", sizes=SMALL | MLP),
    "AltCLIPModel": _towers("AltCLIPConfig", projection_dim=10),
    "CLIPSegVisionModel": Kind(config="CLIPSegVisionConfig", sizes=SMALL | MLP),
    "CLIPSegModel": _towers("CLIPSegConfig", projection_dim=10),
}
"""Classes of the families that are read; one change of a config at a time."""
PLAIN = (
    "ViTForImageClassification",
    "ViTModel",
    "ViTMSNForImageClassification",
    "DeiTForImageClassification",
    "DeiTForImageClassificationWithTeacher",
    "Dinov2Model",
    "Dinov2ForImageClassification",
    "Dinov2WithRegistersModel",
    "DINOv3ViTModel",
    "BeitForImageClassification",
    "Data2VecVisionForImageClassification",
    "SiglipVisionModel",
    "SiglipForImageClassification",
    "CLIPVisionModel",
    "CLIPVisionModelWithProjection",
    "CLIPModel",
    "SiglipModel",
)
"""Classes whose folder has to be read."""
CHANGES = {
    "hidden_size": (36, 48),
    "num_hidden_layers": (3,),
    "num_attention_heads": (4, 6),
    "image_size": (24, [16, 24], 18, 20),
    "patch_size": (4,),
    "intermediate_size": (60,),
    "pooler_output_size": (12,),
    "hidden_act": (
        *("gelu", "gelu_new", "gelu_pytorch_tanh", "quick_gelu", "gelu_fast", "gelu_python"),
        *("relu", "silu", "gelu_10", "mish", "linear", "gelu_accurate", "tanh"),
    ),
    "pooler_act": ("relu",),
}
"""Other values of keys that take no arbitrary number."""
IGNORED = {
    *("model_type", "transformers_version", "architectures", "dtype", "torch_dtype"),
    *("id2label", "label2id", "return_dict", "output_hidden_states", "output_attentions"),
    *("chunk_size_feed_forward", "num_labels", "attn_implementation", "_name_or_path"),
    *("is_encoder_decoder", "vocab_size", "max_position_embeddings"),
    *("hidden_dropout_prob", "problem_type", "initializer_range", "initializer_factor"),
    *("attention_dropout", "attention_probs_dropout_prob", "drop_path_rate", "norm_pix_loss"),
    *("mask_ratio", "projection_dim", "_attn_implementation"),
}
PROBLEMS = {"multi_label_classification": "multi_label", "regression": "regression"}
ACTIVATIONS = {
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_python": "gelu",
}


def transformers_cases() -> Iterator[Case]:
    for name, kind in KINDS.items():
        for label, changes in list_changes(kind, classifies="Classification" in name):
            build = partial(build_example, name, kind, changes)
            common = {"library": "transformers", "family": name, "name": label, "build": build}
            yield Case(form="folder", save=save_pretrained, **common)
            yield Case(form="bare", save=save_state_dict, **common)
            if not changes:
                arch = {"arch": f"transformers:{name}"}
                yield Case(form="arch", save=save_state_dict, hints=arch, **common)


def list_changes(kind: Kind, *, classifies: bool) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each config that differs in one value from the plain one."""
    yield "plain", {}
    config = getattr(transformers, kind.config)()
    config = getattr(config, "vision_config", config) if kind.text else config
    for key, value in sorted({**config.to_dict(), **kind.sizes}.items()):
        for other in () if key in IGNORED else list_values(key, value):
            if other != value:
                yield f"{key}={str(other).replace(' ', '')}", {key: other}
    for problem in PROBLEMS if classifies else ():
        yield f"problem_type={problem}", {"problem_type": problem}
    if classifies:
        yield "num_labels=1", {"num_labels": 1}


def list_values(key: str, value: Any) -> tuple[Any, ...]:
    if key in CHANGES:
        return CHANGES[key]
    if isinstance(value, bool):
        return (not value,)
    if isinstance(value, float):
        return (value * 3 + 0.01 if value < 0.01 else value * 0.5,)
    return (value + 1,) if isinstance(value, int) else ()


def build_config(kind: Kind, changes: Mapping[str, Any]) -> Any:
    outer = {key: value for key, value in changes.items() if key in {"problem_type", "num_labels"}}
    make = getattr(transformers, kind.config)
    if not kind.text:
        return make(**{**kind.sizes, **changes}, attn_implementation="eager")
    vision = {**kind.sizes, **{k: v for k, v in changes.items() if k not in outer}}
    return make(
        vision_config=vision,
        text_config=TEXT,
        **{**(kind.more or {}), **outer},
        attn_implementation="eager",
    )


def build_example(name: str, kind: Kind, changes: Mapping[str, Any]) -> Example | None:
    try:
        config = build_config(kind, changes)
        module = draw(getattr(transformers, name)(config))
        vision = getattr(config, "vision_config", config)
        height, width = read_size(vision)
        images = draw_images(vision.num_channels, height, width)
        answer(module, images)
    except Exception:  # noqa: BLE001 the library may refuse a value in any way
        return None
    return Example(
        module=module,
        images=images,
        answer=answer,
        truth=tell_truth(name, kind, vision),
        problem_type=find_problem_type(config),
        plain=name in PLAIN and not changes,
    )


def find_problem_type(config: Any) -> str:
    """What the logits are for; the pipeline of the library takes a sigmoid of a single one."""
    default = "multi_label" if config.num_labels == 1 else "single_label"
    return PROBLEMS.get(getattr(config, "problem_type", None), default)


def read_size(config: Any) -> tuple[int, int]:
    size = config.image_size
    return tuple(size) if isinstance(size, list | tuple) else (size, size)


def tell_truth(name: str, kind: Kind, config: Any) -> dict[str, Any]:
    height, width = read_size(config)
    truth = {
        "heads": config.num_attention_heads,
        "activation": ACTIVATIONS.get(config.hidden_act, config.hidden_act),
        "norm_eps": config.layer_norm_eps,
        "trained_size": f"{height}x{width}",
        "arch": f"transformers:{name}",
    }
    if hasattr(config, "rope_theta"):
        truth["rotary"] = f"centres with base {config.rope_theta:g}"
    return truth | ({"pool": kind.pool} if kind.pool else {})


def answer(module: nn.Module, images: Tensor) -> Answers:
    """The library's answers; the pooled vector has one name a class."""
    config = module.config
    if hasattr(config, "mask_ratio"):  # the encoder's answer to the whole image
        config.mask_ratio = 0.0
        grid = images.shape[-1] // config.patch_size * (images.shape[-2] // config.patch_size)
        order = torch.arange(grid, dtype=images.dtype).expand(len(images), -1)
        encoder = getattr(module, "vit", module)
        tokens = encoder(images, noise=order).last_hidden_state
        return {"default": [tokens[:, 0], tokens], "tokens": [tokens]}
    tokens, pooled = run_base(module, images)
    inputs: list[Tensor] = []
    classifier = getattr(module, "classifier", None)
    if isinstance(classifier, nn.Linear):
        handle = classifier.register_forward_hook(lambda _, given, __: inputs.append(given[0]))
        logits = module(pixel_values=images).logits
        handle.remove()
        return {"default": [logits], "features": inputs, "tokens": [tokens]}
    whole = run_whole(module, images)
    first = [tokens[:, 0], *pooled, *whole]
    if hasattr(module, "distillation_classifier"):  # it reads the second token; timm's features
        first = [tokens[:, :2].mean(dim=1)]
    answers: dict[str, list[Tensor]] = {"default": whole or [*first, tokens], "features": first}
    return {**answers, "tokens": [tokens]}


def run_base(module: nn.Module, images: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The tokens and the pooled vectors of the model within; a backbone has its tokens inside."""
    inner = getattr(module, "vision_model", getattr(module, module.base_model_prefix, module))
    inner = inner if hasattr(inner, "embeddings") else module  # that of DINOv3 is its encoder
    answers = inner(pixel_values=images, output_hidden_states=True)
    tokens = getattr(answers, "last_hidden_state", None)
    if tokens is None:
        tokens = inner.layernorm(answers.hidden_states[-1])
    pooled = getattr(answers, "pooler_output", None)
    return tokens, [] if pooled is None else [pooled]


def run_whole(module: nn.Module, images: Tensor) -> list[Tensor]:
    """The answer of a model with a projection or with two classifiers; empty for the others."""
    if hasattr(module, "get_image_features"):
        features = module.get_image_features(pixel_values=images)
        pooled = getattr(features, "pooler_output", features)
        return [] if pooled is None else [pooled]
    answers = module(pixel_values=images)
    names = ("logits", "image_embeds")
    return [answers[name] for name in names if isinstance(answers.get(name), Tensor)]


def save_pretrained(module: nn.Module, folder: Path) -> Path:
    module.save_pretrained(folder)
    return folder
