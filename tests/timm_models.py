"""timm's models, which need torchvision at import alone."""

from fake_torchvision import fake_torchvision

with fake_torchvision():
    from timm.layers import (
        GELUTanh,
        QuickGELU,
        SwiGLUPacked,
        apply_rot_embed_cat,
        create_rope_embed,
        resample_abs_pos_embed,
    )
    from timm.models import create_model, list_models, save_for_hf
    from timm.models.deit import VisionTransformerDistilled
    from timm.models.vision_transformer import VisionTransformer

__all__ = [
    "GELUTanh",
    "QuickGELU",
    "SwiGLUPacked",
    "VisionTransformer",
    "VisionTransformerDistilled",
    "apply_rot_embed_cat",
    "create_model",
    "create_rope_embed",
    "list_models",
    "resample_abs_pos_embed",
    "save_for_hf",
]
