"""Our tensors under the names of libraries that can't run here, taken from their sources."""

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
"""Names since torchvision 0.14, and before."""
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
    ("head.pooled_norm", "ln_post"),
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
    """The state dict with the names of torchvision/models/vision_transformer.py."""
    expand, contract = mlp
    return _rename(state, *TORCHVISION, ("mlp.expand", expand), ("mlp.contract", contract))


def as_openai(state):
    """The state dict of clip/model.py: in_proj is fused, the projection transposed."""
    theirs = {f"visual.{name}": tensor for name, tensor in _rename(state, *OPENAI).items()}
    theirs["visual.proj"] = theirs["visual.proj"].T
    theirs["visual.class_embedding"] = theirs["visual.class_embedding"][0]
    return theirs


def as_dinov2(state, mlp=DINOV2_MLP):
    """The state dict of dinov2/models/vision_transformer.py: a batch axis, and a mask token."""
    expand, contract = mlp
    theirs = _rename(state, *DINOV2, ("mlp.expand", expand), ("mlp.contract", contract))
    for name in {"cls_token", "register_tokens", "pos_embed"} & theirs.keys():
        theirs[name] = theirs[name][None]
    return theirs | {"mask_token": torch.zeros(1, theirs["cls_token"].shape[-1])}


def _rename(state, *pairs):
    for old, new in pairs:
        state = {name.replace(old, new): tensor for name, tensor in state.items()}
    return dict(state)
