"""A VitSpec refuses impossible values, and derives sizes."""

import dataclasses

import pytest
import torch
from support import VARIANTS, tiny_spec

from vit_export import RequestError, VitSpec
from vit_export.model.vit.state import random_vit

IMPOSSIBLE = [
    ({"norm_eps": float("nan")}, "norm_eps is nan"),
    ({"norm_eps": float("inf")}, "norm_eps is inf"),
    ({"mlp_ratio": float("nan")}, "mlp_ratio is nan"),
    ({"dropout": float("-inf")}, "dropout is -inf"),
    ({"patch_size": 17}, "the image of 16x24 is smaller than a patch of 17"),
    ({"image_size": (16, 4)}, "the image of 16x4 is smaller than a patch of 8"),
    ({"heads": 5}, "5 heads do not divide the width 24"),
    ({"heads": 0}, "heads is 0"),
    ({"depth": -1}, "depth is -1"),
    ({"width": 24.0}, "width is 24.0"),
    ({"mlp": "relu"}, "mlp is 'relu'"),
    ({"class_token": 1}, "class_token is 1"),
    ({"image_size": (16,)}, "image_size is (16,)"),
    ({"image_size": (0, 16)}, "the image of 0x16 is smaller"),
    ({"dropout": 1.0}, "dropout is 1.0"),
    ({"classes": 0}, "classes is 0"),
    ({"register_tokens": -1}, "register_tokens is -1"),
    ({"class_token": False}, "needs a class token"),
    ({"projection": 4}, "exclude each other"),
    ({"pool": "sum"}, "pool is 'sum'"),
    ({"pool": "token_patch_mean", "norm_after_pool": True}, "norm_after_pool has no meaning"),
    ({"pool": "none"}, "leaves nothing to classify"),
    ({"pool": "none", "classes": None, "norm_after_pool": True}, "leaves nothing to classify"),
    ({"distillation_token": True, "pool": "mean"}, "distillation_token"),
    ({"distillation_token": True, "classes": None, "projection": 4}, "excludes a projection"),
]


@pytest.mark.parametrize(("changes", "message"), IMPOSSIBLE, ids=[str(c) for c, _ in IMPOSSIBLE])
def test_an_impossible_value_is_refused_by_name(changes, message):
    with pytest.raises(RequestError) as refusal:
        tiny_spec(**changes)
    assert message in refusal.value.message
    assert refusal.value.fix


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_derived_sizes_are_those_of_the_module(changes):
    spec = tiny_spec(**changes)
    vit = random_vit(spec, 0)
    positions = vit.embedding.positions
    assert (0 if positions is None else len(positions)) == spec.positioned
    assert vit.blocks[0].mlp.contract.in_features == spec.hidden
    assert spec.tokens == spec.prefix_tokens + 2 * 3
    answer = vit(torch.zeros(2, spec.channels, *spec.image_size))
    assert answer.shape == (2, *spec.answer_shape)


@pytest.mark.parametrize(
    ("changes", "answer"),
    [({}, "logits"), ({"classes": None}, "features"), (VARIANTS["tokens"], "tokens")],
)
def test_an_answer_has_the_name_of_its_meaning(changes, answer):
    assert tiny_spec(**changes).answer == answer


def test_a_mapping_with_a_typo_names_the_field():
    with pytest.raises(RequestError, match=r"my\.toml: unknown key 'dept'") as refusal:
        VitSpec.from_mapping({"dept": 3}, "my.toml")
    assert refusal.value.fix == "Did you mean 'depth'?"


def test_a_mapping_with_a_wrong_value_names_its_origin():
    with pytest.raises(RequestError, match=r"my\.toml: heads is 'six'"):
        VitSpec.from_mapping({"heads": "six"}, "my.toml")


@pytest.mark.parametrize("size", [32, [32, 32], (32, 32)])
def test_image_size_may_be_one_side(size):
    assert VitSpec.from_mapping({"image_size": size}, "here").image_size == (32, 32)


def test_a_spec_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        tiny_spec().depth = 3
