"""Image models of transformers, small; each answers with one of its outputs."""

from functools import partial
from typing import Any

import torch
from torch import nn
from zoo_module import CLASSES, ZooModule

SIZES = {"hidden_size": 192, "num_hidden_layers": 3, "num_attention_heads": 3}
VIT = SIZES | {"intermediate_size": 768, "image_size": 224, "patch_size": 16}
STAGES = {"embed_dim": 48, "depths": [1, 1, 1, 1], "num_heads": [2, 4, 8, 16]}
LABELS = {"num_labels": CLASSES}
MODELS: dict[str, ZooModule] = {}


class Output(nn.Module):
    """One output of a model of transformers, as a user's own wrapper returns it."""

    def __init__(self, model: nn.Module, name: str) -> None:
        super().__init__()
        self.model, self.name = model, name

    def forward(self, pixel_values):
        answer = getattr(self.model(pixel_values=pixel_values), self.name)
        return answer[-1] if isinstance(answer, tuple | list) else answer


class Patches(nn.Module):
    """SigLIP2 of any grid, which takes patches (B, N, K) with a mask and the grids."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, patches):
        count, length, _ = patches.shape
        mask = torch.ones(count, length, dtype=torch.int64)
        grids = torch.tensor([[14, 14]]).expand(count, -1)
        answer = self.model(pixel_values=patches, pixel_attention_mask=mask, spatial_shapes=grids)
        return answer.pooler_output


def create(kind: str, output: str, arguments: dict[str, Any]) -> nn.Module:
    """Return a class of transformers with random weights, and one of its outputs."""
    import transformers

    model = getattr(transformers, kind)
    return Output(model(model.config_class(**arguments)), output)


def create_depth() -> nn.Module:
    """Return Depth Anything: its backbone, a DINOv2, and the head of depths."""
    import transformers

    backbone = transformers.Dinov2Config(
        **VIT | {"patch_size": 14}, out_indices=[1, 2, 3], reshape_hidden_states=False
    )
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=192,
        reassemble_factors=[2, 1, 0.5],
        neck_hidden_sizes=[48, 96, 192],
        fusion_hidden_size=64,
    )
    return Output(transformers.DepthAnythingForDepthEstimation(config), "predicted_depth")


def create_naflex() -> nn.Module:
    """Return SigLIP2 of any grid."""
    import transformers

    sizes = {name: value for name, value in VIT.items() if name != "image_size"}
    config = transformers.Siglip2VisionConfig(**sizes, num_patches=196)
    return Patches(transformers.Siglip2VisionModel(config))


def add(kind: str, output: str, size: int = 224, **arguments: Any) -> None:
    """Add one model to the zoo."""
    MODELS[f"transformers:{kind}"] = ZooModule(
        create=partial(create, kind, output, arguments), shape=(3, size, size)
    )


add("SwinForImageClassification", "logits", **STAGES, **LABELS)
add(
    "Swinv2ForImageClassification", "logits", 256, **STAGES, **LABELS, image_size=256, window_size=8
)
add("DINOv3ViTModel", "pooler_output", **VIT, num_register_tokens=4)
add("SiglipVisionModel", "pooler_output", **VIT)
add("BeitForImageClassification", "logits", **VIT, **LABELS, use_relative_position_bias=True)
add(
    "Data2VecVisionForImageClassification",
    "logits",
    **VIT,
    **LABELS,
    use_shared_relative_position_bias=True,
)
add(
    "VitDetModel",
    "last_hidden_state",
    **SIZES,
    image_size=224,
    pretrain_image_size=224,
    window_block_indices=[0, 2],
    window_size=7,
    use_relative_position_embeddings=True,
)
add(
    "SamVisionModel",
    "last_hidden_state",
    256,
    **SIZES,
    image_size=256,
    window_size=7,
    global_attn_indexes=[1],
    output_channels=64,
)
add(
    "HieraForImageClassification",
    "logits",
    **STAGES | {"num_heads": [1, 2, 4, 8]},
    **LABELS,
)
add("PvtV2ForImageClassification", "logits", **LABELS)
add("SegformerForImageClassification", "logits", **LABELS)
add("FocalNetForImageClassification", "logits", **LABELS, embed_dim=48, depths=[1, 1, 1, 1])
add("YolosForObjectDetection", "logits", **VIT | {"image_size": [224, 224]}, **LABELS)
add("MobileViTForImageClassification", "logits", 256, **LABELS, initializer_range=0.1)
add("Dinov2WithRegistersModel", "pooler_output", **VIT | {"patch_size": 14})
add("IJepaModel", "last_hidden_state", **VIT)
add("MLCDVisionModel", "pooler_output", **VIT)
MODELS["transformers:DepthAnythingForDepthEstimation"] = ZooModule(create=create_depth)
MODELS["transformers:Siglip2VisionModel"] = ZooModule(
    create=create_naflex, shape=(196, 768), refusal="number of images"
)
