"""Image models of `transformers` of other families, for the sweep `reading`.

Some have names like those of a ViT. Each has to be refused, or to be read right.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
import transformers
from reading_cases import Answers, Case, Example, draw, draw_images, save_state_dict
from reading_transformers import ACTIVATIONS, CLASSES, MLP, SMALL, save_pretrained
from torch import Tensor, nn

NAMES = [
    "Aimv2VisionModel",
    "AlignVisionModel",
    "BeitForImageClassification",
    "BeitModel",
    "BitForImageClassification",
    "Blip2VisionModel",
    "BlipVisionModel",
    "ConvNextForImageClassification",
    "ConvNextV2ForImageClassification",
    "CvtForImageClassification",
    "DPTModel",
    "Data2VecVisionForImageClassification",
    "Data2VecVisionModel",
    "DINOv3ViTModel",
    "DINOv3ViTBackbone",
    "DINOv3ConvNextModel",
    "DinatForImageClassification",
    "DonutSwinForImageClassification",
    "DonutSwinModel",
    "EfficientNetForImageClassification",
    "EomtForUniversalSegmentation",
    "FocalNetForImageClassification",
    "GitVisionModel",
    "GroupViTVisionModel",
    "HGNetV2ForImageClassification",
    "HieraForImageClassification",
    "ImageGPTForImageClassification",
    "InstructBlipVisionModel",
    "InternVLVisionModel",
    "JanusVisionModel",
    "LevitForImageClassification",
    "Llama4VisionModel",
    "MLCDVisionModel",
    "MllamaVisionModel",
    "MobileNetV1ForImageClassification",
    "MobileNetV2ForImageClassification",
    "MobileViTForImageClassification",
    "MobileViTV2ForImageClassification",
    "OwlViTVisionModel",
    "Owlv2VisionModel",
    "PPLCNetForImageClassification",
    "Phi4MultimodalVisionModel",
    "Pix2StructVisionModel",
    "PixtralVisionModel",
    "PoolFormerForImageClassification",
    "PvtForImageClassification",
    "PvtV2ForImageClassification",
    "RegNetForImageClassification",
    "ResNetForImageClassification",
    "SamVisionModel",
    "Sam2VisionModel",
    "SegformerForImageClassification",
    "ShieldGemma2ForImageClassification",
    "Siglip2ForImageClassification",
    "Siglip2VisionModel",
    "SwiftFormerForImageClassification",
    "SwinForImageClassification",
    "SwinModel",
    "Swinv2ForImageClassification",
    "TextNetForImageClassification",
    "VideoMAEForVideoClassification",
    "VideoMAEModel",
    "ViTDetModel",
    "ViTDetBackbone",
    "VitPoseBackbone",
    "VitMatteForImageMatting",
    "VivitModel",
    "TimesformerModel",
    "XCLIPVisionModel",
    "YolosModel",
    "YolosForObjectDetection",
    "ASTModel",
    "ViltModel",
    "FlavaImageModel",
    "BridgeTowerModel",
    "Idefics2Model",
    "PvtModel",
    "BeitBackbone",
    "SwinBackbone",
    "HieraModel",
    "CvtModel",
    "LevitModel",
    "Tipsv2VisionModel",
    "VideoPrismVisionModel",
]
LARGEST = 30_000_000
"""Most parameters; a class that has more for small sizes has a config of another kind."""


def alike_cases() -> Iterator[Case]:
    for name in NAMES:
        build = partial(build_alike, name)
        common = {"library": "transformers", "family": "alike", "name": name, "build": build}
        yield Case(form="folder", save=save_pretrained, **common)
        yield Case(form="bare", save=save_state_dict, **common)


def build_alike(name: str) -> Example | None:
    """A small model of any class, if few sizes are enough to build one."""
    try:
        kind = getattr(transformers, name)
        default = kind.config_class()
        sizes = {k: v for k, v in (SMALL | MLP | CLASSES).items() if hasattr(default, k)}
        config = kind.config_class(**sizes, attn_implementation="eager")
        with torch.device("meta"):
            if sum(p.numel() for p in kind(config).parameters()) > LARGEST:
                return None
        module = draw(kind(config))
    except Exception:  # noqa: BLE001 such a class may need anything
        return None
    channels = getattr(config, "num_channels", 3)
    size = getattr(config, "image_size", 64)
    return Example(
        module=module,
        images=draw_images(channels, *(size if isinstance(size, list | tuple) else (size, size))),
        answer=answer_alike,
        truth={
            "heads": getattr(config, "num_attention_heads", 3),
            "activation": read_activation(config),
            "norm_eps": getattr(config, "layer_norm_eps", 1e-5),
            "arch": f"transformers:{name}",
        },
    )


def read_activation(config: Any) -> str:
    """The name of an activation as `--activation` has it."""
    name = getattr(config, "hidden_act", "gelu")
    return ACTIVATIONS.get(name, name)


def answer_alike(module: nn.Module, images: Tensor) -> Answers:
    """Every tensor that the model answers with, and its first token."""
    answers = module(pixel_values=images)
    tensors = [one for one in answers.values() if isinstance(one, Tensor)]
    tokens = [one[:, 0] for one in tensors if one.ndim == 3]
    return {"default": [*tensors, *tokens]}
