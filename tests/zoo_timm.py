"""Architectures of timm, made small where their code allows it."""

from functools import partial
from typing import Any

from torch import nn
from zoo_module import CLASSES, ZooModule

STAGES = {"depths": (1, 1, 1, 1), "num_heads": (2, 4, 8, 16)}
MODELS: dict[str, ZooModule] = {}


def create(name: str, arguments: dict[str, Any]) -> nn.Module:
    """Return an architecture of timm with random weights."""
    from timm_models import create_model

    built: nn.Module = create_model(name, pretrained=False, num_classes=CLASSES, **arguments)
    return built


def add(name: str, size: int = 224, refusal: str = "", **arguments: Any) -> None:
    """Add one model to the zoo."""
    MODELS[f"timm:{name}"] = ZooModule(
        create=partial(create, name, arguments), shape=(3, size, size), refusal=refusal
    )


add("vit_small_patch16_224")
add("swin_tiny_patch4_window7_224", embed_dim=48, **STAGES)
add("swinv2_tiny_window8_256", 256, embed_dim=48, **STAGES)
add("eva02_tiny_patch14_224", depth=3)
add("vit_small_patch16_dinov3", 256, depth=3)
add("beit_base_patch16_224", depth=3, embed_dim=384, num_heads=6)
add("maxvit_pico_rw_256", 256)
add("levit_128s")
add("cait_xxs24_224", depth=3)
add("xcit_nano_12_p16_224", depth=3)
add("mobilevit_xxs", 256)
# ONNX Runtime's InstanceNormalization over a flat image is ten times less exact than PyTorch's
add("mobilevitv2_050", 256, refusal="is not the model: (constant|saturated)")
add("pvt_v2_b0")
add("hiera_tiny_224", stages=(1, 1, 1, 1), embed_dim=48)
add("samvit_base_patch16_224", depth=2, embed_dim=192, num_heads=3, global_attn_indexes=(1,))
add("mvitv2_tiny")
add("efficientformerv2_s0")
add("tiny_vit_5m_224")
add("coatnet_0_rw_224")
add("volo_d1_224")
add("davit_tiny", embed_dims=(48, 96, 192, 384), **STAGES)
add("gcvit_xxtiny")
add("crossvit_tiny_240", 240)
add("twins_svt_small", depths=(1, 1, 2, 1))
add("naflexvit_base_patch16_gap", depth=3, embed_dim=192, num_heads=3)
add("vit_relpos_small_patch16_224", depth=3)
add("edgenext_xx_small", 256)
