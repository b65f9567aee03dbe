"""Our tensors under the names of libraries that can't run here, by hand from their sources."""

import torch

TORCHVISION = [
    ("embedding.class_token", "class_token"),
    ("embedding.positions", "encoder.pos_embedding"),
    ("embedding.projection", "conv_proj"),
    ("blocks.", "encoder.layers.encoder_layer_"),
    ("attention_norm", "ln_1"),
    ("mlp_norm", "ln_2"),
    ("attention.qkv.", "self_attention.in_proj_"),
    ("attention.projection", "self_attention.out_proj"),
    ("head.norm", "encoder.ln"),
    ("head.classifier", "heads.head"),
]
TORCHVISION_MLP = [("mlp.0", "mlp.3"), ("mlp.linear_1", "mlp.linear_2")]
"""Since 0.14, and before."""
OPENAI = [
    ("embedding.class_token", "class_embedding"),
    ("embedding.positions", "positional_embedding"),
    ("embedding.projection", "conv1"),
    ("embedding_norm", "ln_pre"),
    ("blocks", "transformer.resblocks"),
    ("attention_norm", "ln_1"),
    ("mlp_norm", "ln_2"),
    ("attention.qkv.", "attn.in_proj_"),
    ("attention.projection", "attn.out_proj"),
    ("mlp.expand", "mlp.c_fc"),
    ("mlp.contract", "mlp.c_proj"),
    ("head.norm", "ln_post"),
    ("head.classifier.weight", "proj"),
]
DINOV2 = [
    ("embedding.class_token", "cls_token"),
    ("embedding.register_tokens", "register_tokens"),
    ("embedding.positions", "pos_embed"),
    ("embedding.projection", "patch_embed.proj"),
    ("attention_norm", "norm1"),
    ("mlp_norm", "norm2"),
    ("attention_scale", "ls1"),
    ("mlp_scale", "ls2"),
    ("attention.projection", "attn.proj"),
    ("attention", "attn"),
    ("head.norm", "norm"),
]
DINOV2_MLP, DINOV2_SWIGLU = ("mlp.fc1", "mlp.fc2"), ("mlp.w12", "mlp.w3")


def as_torchvision(state, mlp=TORCHVISION_MLP[0]):
    """As torchvision/models/vision_transformer.py names them."""
    expand, contract = mlp
    return _renamed(state, *TORCHVISION, ("mlp.expand", expand), ("mlp.contract", contract))


def as_openai(state):
    """As clip/model.py: fused in_proj, one class token without axes, the projection turned."""
    named = {f"visual.{name}": tensor for name, tensor in _renamed(state, *OPENAI).items()}
    named["visual.proj"] = named["visual.proj"].T
    named["visual.class_embedding"] = named["visual.class_embedding"][0]
    return named


def as_dinov2(state, mlp=DINOV2_MLP):
    """As dinov2/models/vision_transformer.py: an axis for the batch, and a mask token."""
    expand, contract = mlp
    named = _renamed(state, *DINOV2, ("mlp.expand", expand), ("mlp.contract", contract))
    for name in {"cls_token", "register_tokens", "pos_embed"} & named.keys():
        named[name] = named[name][None]
    return named | {"mask_token": torch.zeros(1, named["cls_token"].shape[-1])}


def _renamed(state, *pairs):
    made = dict(state)
    for old, new in pairs:
        made = {name.replace(old, new): tensor for name, tensor in made.items()}
    return made
