"""Every rewrite is exact, fires where it should, and leaves a near miss alone."""

import pytest
import torch
from einops import rearrange
from support import SEED_STYLE, VARIANTS, tiny_spec
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from vit_export import VitSpec
from vit_export.model.vit.block import EncoderBlock, LayerScale
from vit_export.model.vit.head import AttentionPool
from vit_export.model.vit.lowering import lower
from vit_export.model.vit.lowering.block import LoweredBlock
from vit_export.model.vit.lowering.last_block import MeanBlock, TokenBlock
from vit_export.model.vit.lowering.rewrites import (
    average_classifiers,
    deinterleave_qkv,
    fold_attention_scale,
    fold_layer_scale,
    fold_prefix_positions,
    fold_probe,
    pad_hidden,
    select_rows,
)
from vit_export.model.vit.state import random_vit
from vit_export.model.vit.vit import PatchEmbedding, Vit

HEADS = 4


@pytest.fixture(params=[True, False], ids=["bias", "no bias"])
def qkv(request):
    torch.manual_seed(0)
    return nn.Linear(24, 72, bias=request.param)


@pytest.fixture
def x():
    return torch.randn(2, 5, 24, generator=torch.Generator().manual_seed(1))


def split_interleaved(y):
    return rearrange(y, "b n (h d qkv) -> qkv b h n d", h=HEADS, qkv=3)


def split_stacked(y):
    return rearrange(y, "b n (qkv h d) -> qkv b h n d", h=HEADS, qkv=3)


@torch.no_grad()
def test_deinterleaving_moves_rows(qkv, x):
    lowered = deinterleave_qkv(qkv, HEADS, "interleaved")
    # the sums are equal, but another shape of matrix may change their order
    torch.testing.assert_close(
        split_stacked(lowered(x)), split_interleaved(qkv(x)), rtol=0, atol=1e-6
    )
    assert lowered.weight.flatten().sort().values.equal(qkv.weight.flatten().sort().values)


@torch.no_grad()
def test_a_reshape_is_no_rearrange(qkv, x):
    """The seed document warns of it: the sizes agree, the numbers do not."""
    reshaped = nn.Linear(24, 72, bias=False)
    reshaped.weight = nn.Parameter(qkv.weight.reshape(HEADS, -1, 3, 24).reshape(72, 24))
    assert not torch.allclose(
        split_stacked(reshaped(x)), split_interleaved(x @ qkv.weight.T), atol=1e-2
    )


def test_stacked_rows_stay(qkv):
    assert deinterleave_qkv(qkv, HEADS, "stacked") is qkv


@torch.no_grad()
def test_scale_goes_into_the_query_alone(qkv, x):
    scaled = fold_attention_scale(qkv, 0.3)
    query, key, value = split_stacked(qkv(x))
    torch.testing.assert_close(
        split_stacked(scaled(x)), torch.stack([query * 0.3, key, value]), rtol=1e-5, atol=1e-6
    )


def test_a_scale_of_one_stays(qkv):
    assert fold_attention_scale(qkv, 1.0) is qkv


@torch.no_grad()
def test_layer_scale_goes_into_the_rows(qkv, x):
    scale = LayerScale(72)
    nn.init.normal_(scale.gamma)
    torch.testing.assert_close(fold_layer_scale(qkv, scale)(x), scale(qkv(x)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("other", [nn.Identity(), nn.LayerNorm(72)], ids=["identity", "norm"])
def test_only_a_layer_scale_is_folded(qkv, other):
    assert fold_layer_scale(qkv, other) is qkv


@pytest.mark.parametrize("positions", ["all", "no_registers", "patches"])
@torch.no_grad()
def test_prefix_positions_go_into_the_tokens(positions):
    spec = tiny_spec(register_tokens=2, distillation_token=True, positions=positions)
    embedding = PatchEmbedding(spec)
    image = torch.zeros(1, 3, 16, 24)
    prefix, patches = fold_prefix_positions(embedding)
    answer = embedding(image)[0]
    assert answer[: spec.prefix_tokens].equal(prefix)
    assert (answer[spec.prefix_tokens :] - embedding.projection.bias).allclose(patches, atol=1e-6)


def test_without_prefix_there_is_nothing_to_fold():
    embedding = PatchEmbedding(tiny_spec(class_token=False, pool="mean"))
    prefix, patches = fold_prefix_positions(embedding)
    assert prefix is None
    assert patches.equal(embedding.positions)


@torch.no_grad()
def test_the_query_of_the_probe_is_a_constant():
    spec = tiny_spec(pool="map")
    pool = AttentionPool(spec)
    query = fold_probe(pool)
    assert query.shape == (1, spec.heads, 1, spec.head_dim)
    expected = (pool.qkv(pool.probe)[0, : spec.width] * spec.head_dim**-0.5).reshape(query.shape)
    assert query.equal(expected)


@pytest.mark.parametrize("bias", [True, False])
@torch.no_grad()
def test_two_classifiers_are_one(bias):
    torch.manual_seed(0)
    first, second = nn.Linear(6, 5, bias=bias), nn.Linear(6, 5, bias=bias)
    token, other = torch.randn(2, 3, 6)
    averaged = average_classifiers(first, second)(torch.cat([token, other], dim=1))
    torch.testing.assert_close(averaged, (first(token) + second(other)) / 2)


ALIASED = 1024  # channels: rows of 4096 bytes


@pytest.mark.parametrize("mlp", ["gelu", "gelu_tanh", "quick_gelu", "swiglu"])
@torch.no_grad()
def test_a_hidden_width_that_aliases_is_padded(mlp):
    spec = tiny_spec(mlp=mlp, mlp_hidden=ALIASED, depth=1)
    vit = draw_vit(spec)
    mlp, images = lower(vit).blocks[-1].mlp, torch.randn(2, 3, 16, 24)
    assert mlp.contract.in_features == ALIASED + 16
    assert mlp.expand.out_features % (ALIASED + 16) == 0
    torch.testing.assert_close(lower(vit)(images), vit(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("hidden", [ALIASED - 4, ALIASED + 4, 768])
def test_other_hidden_widths_stay(hidden):
    layers = nn.Linear(24, hidden), nn.Linear(hidden, 24)
    assert pad_hidden(*layers, nn.Identity()) == layers


def test_a_norm_inside_the_mlp_counts_no_padding():
    layers = nn.Linear(24, ALIASED), nn.Linear(ALIASED, 24)
    assert pad_hidden(*layers, nn.LayerNorm(ALIASED)) == layers


def test_rows_of_a_linear(qkv, x):
    torch.testing.assert_close(select_rows(qkv, 24, 48)(x), qkv(x)[..., 24:48])
    torch.testing.assert_close(select_rows(qkv, 24, None)(x), qkv(x)[..., 24:])


SHORTER = [
    ({}, TokenBlock),
    ({"distillation_token": True}, TokenBlock),
    (SEED_STYLE, MeanBlock),
    (SEED_STYLE | {"pool": "patch_mean"}, MeanBlock),
    ({"pool": "mean"}, LoweredBlock),  # the norm stands before the mean
    ({"pool": "token_patch_mean"}, LoweredBlock),
    ({"pool": "map"}, LoweredBlock),
    ({"pool": "none", "classes": None}, LoweredBlock),
]


@pytest.mark.parametrize(("changes", "kind"), SHORTER, ids=[str(c) for c, _ in SHORTER])
def test_the_last_block_computes_what_the_pool_reads(changes, kind):
    assert type(lower(random_vit(tiny_spec(**changes), 0)).blocks[-1]) is kind


@pytest.mark.parametrize(
    ("changes", "least", "most"),
    [({}, 0.90, 0.94), (SEED_STYLE, 0.96, 0.98), ({"pool": "map", "classes": None}, 0.99, 1.01)],
)
@torch.no_grad()
def test_arithmetic_that_lowering_saves(changes, least, most):
    """PyTorch counts the arithmetic of a ViT-B on the meta device, lowered and eager."""
    spec = VitSpec(**{"classes": 1000} | changes)
    with torch.device("meta"):
        vit, image = Vit(spec).eval(), torch.empty(1, 3, 224, 224)
        lowered = lower(vit)
    flops = []
    for module in (vit, lowered):
        with FlopCounterMode(display=False) as counter:
            module(image)
        flops.append(counter.get_total_flops())
    assert least < flops[1] / flops[0] < most


def draw_vit(spec):
    """A model whose norms, layer scales and biases are random too."""
    vit = random_vit(spec, 0)
    for parameter in vit.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, mean=0.5, std=0.5)
    return vit


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
@torch.no_grad()
def test_a_lowered_model_answers_as_the_einops_model(changes):
    spec = tiny_spec(**changes)
    vit = draw_vit(spec)
    images = torch.randn(3, spec.channels, *spec.image_size)
    exact = vit.double()(images.double())
    floor = (vit.float()(images) - exact).abs().max()
    error = (lower(vit)(images) - exact).abs().max()
    assert error < 8 * floor + 1e-6 * exact.abs().max()


@pytest.mark.parametrize("changes", [{}, SEED_STYLE, {"layer_scale": True}])
def test_lowering_does_not_change_the_model(changes):
    vit = random_vit(tiny_spec(**changes), 0)
    before = {name: tensor.clone() for name, tensor in vit.state_dict().items()}
    modules = [type(module) for module in vit.modules()]
    lower(vit)
    assert all(tensor.equal(before[name]) for name, tensor in vit.state_dict().items())
    assert [type(module) for module in vit.modules()] == modules


def test_lowering_does_not_change_the_mode():
    vit = Vit(tiny_spec()).train()
    lower(vit)
    assert all(module.training for module in vit.modules())


def test_a_lowered_model_has_no_eager_layers():
    lowered = lower(random_vit(tiny_spec(**SEED_STYLE, layer_scale=True), 0))
    left = {type(module) for module in lowered.modules()}
    assert not left & {Vit, EncoderBlock, LayerScale, PatchEmbedding, nn.Dropout}
