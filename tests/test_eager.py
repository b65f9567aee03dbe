"""The reference answers as the seed document's module and as other people's ViTs."""

import functools

import pytest
import seed_vit
import torch
from support import SEED_STYLE, tiny_spec
from torch import nn
from transformers import Dinov2Config, Dinov2Model, ViTConfig, ViTForImageClassification

from vit_export.checkpoints.load import load
from vit_export.model.vit.block import MultiHeadAttention
from vit_export.model.vit.presets import load_preset
from vit_export.model.vit.vit import Vit

IMAGES = torch.randn(2, 3, 16, 24, generator=torch.Generator().manual_seed(1))


def assert_close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_answers_like_the_seed_module():
    torch.manual_seed(0)
    sizes = {"patch_size": 8, "emb_size": 24, "img_size": 16, "depth": 2, "n_classes": 5}
    seed = seed_vit.ViT(**sizes, num_heads=3).eval()
    vit = load(seed).vit
    assert vit.spec == tiny_spec(image_size=(16, 16), mlp_hidden=96, **SEED_STYLE)
    images = torch.randn(3, 3, 16, 16)
    assert_close(vit(images), seed(images))


@torch.no_grad()
def test_the_default_preset_is_the_seed_module():
    torch.manual_seed(0)
    seed = seed_vit.ViT(depth=1)
    theirs = load(seed).vit.spec
    ours = load_preset("einops_vit_base_patch16_224").spec
    differing = {"depth", "mlp_hidden"}
    assert theirs.hidden == ours.hidden
    for field in set(vars(ours)) - differing:
        assert getattr(theirs, field) == getattr(ours, field), field


def to_encoder_layer(block, spec):
    """PyTorch's own encoder layer with the weights of `block`."""
    layer = nn.TransformerEncoderLayer(
        spec.width,
        spec.heads,
        spec.hidden,
        dropout=0,
        activation="gelu",
        layer_norm_eps=spec.norm_eps,
        batch_first=True,
        norm_first=True,
    ).eval()
    layer.self_attn.in_proj_weight = block.attention.qkv.weight
    layer.self_attn.in_proj_bias = block.attention.qkv.bias
    layer.self_attn.out_proj = block.attention.projection
    layer.linear1, layer.linear2 = block.mlp.expand, block.mlp.contract
    layer.norm1, layer.norm2 = block.attention_norm, block.mlp_norm
    return layer


@pytest.mark.parametrize("masked", [False, True])
@torch.no_grad()
def test_a_block_is_pytorchs_encoder_layer(masked):
    spec = tiny_spec()
    vit = Vit(spec).eval()
    x = torch.randn(2, spec.tokens, spec.width)
    mask = torch.rand(spec.tokens, spec.tokens) < 0.6
    mask |= torch.eye(spec.tokens, dtype=torch.bool)
    expected = to_encoder_layer(vit.blocks[0], spec)(x, src_mask=~mask if masked else None)
    assert_close(vit.blocks[0](x, mask if masked else None), expected)


@pytest.mark.parametrize("layout", ["interleaved", "stacked"])
@torch.no_grad()
def test_a_mask_hides_tokens(layout):
    """A hidden token can't change the answer, but a visible one can."""
    spec = tiny_spec(qkv_layout=layout)
    attention = MultiHeadAttention(spec).eval()
    x = torch.randn(1, spec.tokens, spec.width)
    changed = x.clone()
    changed[:, 3] += 1
    mask = torch.ones(spec.tokens, spec.tokens, dtype=torch.bool)
    mask[:, 3] = False
    others = [i for i in range(spec.tokens) if i != 3]
    assert_close(attention(x, mask)[:, others], attention(changed, mask)[:, others])
    assert not torch.allclose(attention(x)[:, others], attention(changed)[:, others])


COMMON = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "patch_size": 8}
COMMON |= {"layer_norm_eps": 1e-6, "attn_implementation": "eager"}
NAMES = (
    ("vit.", ""),
    ("encoder.layer.", "layers."),
    ("layers.", "blocks."),
    ("embeddings.cls_token", "embedding.class_token"),
    ("embeddings.position_embeddings", "embedding.positions"),
    ("embeddings.patch_embeddings.projection", "embedding.projection"),
    ("layernorm_before", "attention_norm"),
    ("layernorm_after", "mlp_norm"),
    ("layernorm", "head.norm"),
    ("norm1", "attention_norm"),
    ("norm2", "mlp_norm"),
    ("attention.o_proj", "attention.projection"),
    ("layer_scale1.lambda1", "attention_scale.gamma"),
    ("layer_scale2.lambda1", "mlp_scale.gamma"),
    ("mlp.fc1", "mlp.expand"),
    ("mlp.fc2", "mlp.contract"),
    ("mlp.down_proj", "mlp.contract"),
    ("classifier", "head.classifier"),
)


def randomize(module):
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.2)
    return module.eval()


def rename(name):
    return functools.reduce(lambda name, pair: name.replace(*pair), NAMES, name)


def copy_weights(theirs, spec):
    """Our model with the tensors of a model of `transformers`; q, k, v and gate, up are fused."""
    state = {rename(name): tensor for name, tensor in theirs.state_dict().items()}
    state.pop("embeddings.mask_token", None)
    for name in ("embedding.class_token", "embedding.positions"):
        state[name] = state[name][0]
    fused = {"attention.qkv": ("attention.q_proj", "attention.k_proj", "attention.v_proj")}
    fused["mlp.expand"] = ("mlp.gate_proj", "mlp.up_proj")
    for new, parts in fused.items():
        for name in [name for name in state if parts[0] in name]:
            tensors = [state.pop(name.replace(parts[0], part)) for part in parts]
            state[name.replace(parts[0], new)] = torch.cat(tensors)
    ours = Vit(spec).eval()
    ours.load_state_dict(state)
    return ours


@torch.no_grad()
def test_paper_conventions_are_transformers_vit():
    config = ViTConfig(**COMMON, intermediate_size=96, image_size=[16, 24], num_labels=5)
    theirs = randomize(ViTForImageClassification(config))
    ours = copy_weights(theirs, tiny_spec())
    assert_close(ours(IMAGES), theirs(IMAGES).logits)


@torch.no_grad()
def test_swiglu_and_layer_scale_are_transformers_dinov2():
    config = Dinov2Config(**COMMON, image_size=16, use_swiglu_ffn=True)
    theirs = randomize(Dinov2Model(config))
    spec = tiny_spec(
        image_size=(16, 16), classes=None, mlp="swiglu", mlp_hidden=64, layer_scale=True
    )
    ours = copy_weights(theirs, spec)
    images = IMAGES[..., :16].contiguous()
    assert_close(ours(images), theirs(images).pooler_output)


@torch.no_grad()
def test_dropout_is_for_training_only():
    vit = Vit(tiny_spec(dropout=0.5))
    assert not torch.equal(vit(IMAGES), vit(IMAGES))
    vit.eval()
    assert torch.equal(vit(IMAGES), vit(IMAGES))
