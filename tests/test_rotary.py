"""Rotary positions turn queries and keys as the libraries do, in the eager model and in a graph."""

from collections import Counter

import onnx
import pytest
import timm_models
import torch
import transformers
from support import tiny_spec

import vit_export
from vit_export import RequestError, Rotary, VitSpec
from vit_export.model.vit.adapt import resize_positions
from vit_export.model.vit.lowering import lower
from vit_export.model.vit.rotation import Rotation
from vit_export.model.vit.state import random_vit

KINDS = {
    "dinov3": (Rotary(), {"rope_type": "dinov3", "rotate_half": True, "temperature": 100.0}),
    "cat": (
        Rotary(base=10000.0, coordinates="indices", pairs="interleaved", reference_grid=(7, 5)),
        {"rope_type": "cat", "in_pixels": False, "ref_feat_shape": [7, 5]},
    ),
    "cat of columns": (
        Rotary(base=50.0, coordinates="indices", offset=1.0, first="columns"),
        {
            "rope_type": "cat",
            "in_pixels": False,
            "temperature": 50.0,
            "grid_offset": 1.0,
            "grid_indexing": "xy",
            "rotate_half": True,
        },
    ),
    "mixed": (
        Rotary(frequencies="learned", coordinates="indices", first="columns", pairs="interleaved"),
        {"rope_type": "mixed", "depth": 1, "grid_indexing": "xy"},
    ),
}
"""Records to the arguments of timm's `create_rope_embed`."""


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_queries_turn_as_those_of_timm(kind):
    rotary, arguments = KINDS[kind]
    spec = tiny_spec(image_size=(24, 40), rotary=rotary, register_tokens=1)
    half = arguments.get("rotate_half", False)
    theirs = timm_models.create_rope_embed(dim=24, num_heads=3, feat_shape=[3, 5], **arguments)
    ours, queries = Rotation(spec, rotary), torch.randn(2, 3, spec.tokens, 8)
    tables = theirs.get_embed()
    if kind == "mixed":
        ours.frequencies.copy_(theirs.freqs[:, 0])
        tables = tables[0]
    turned = timm_models.apply_rot_embed_cat(queries[:, :, 2:], tables, half=half)
    expected = torch.cat([queries[:, :, :2], turned], dim=2)
    torch.testing.assert_close(ours(queries), expected, rtol=0, atol=2e-6)


@torch.no_grad()
def test_queries_turn_as_those_of_transformers():
    config = transformers.DINOv3ViTConfig(hidden_size=24, num_attention_heads=3, rope_theta=30.0)
    module = transformers.models.dinov3_vit.modeling_dinov3_vit
    spec = tiny_spec(image_size=(48, 80), patch_size=16, rotary=Rotary(base=30.0))
    queries = torch.randn(2, 3, spec.tokens, 8)
    make_tables = module.DINOv3ViTRopePositionEmbedding(config).eval()
    tables = make_tables(torch.zeros(1, 3, 48, 80))
    expected, _ = module.apply_rotary_pos_emb(queries, queries, *tables)
    torch.testing.assert_close(
        Rotation(spec, Rotary(base=30.0))(queries), expected, rtol=0, atol=2e-6
    )


def count_nodes(path, **changes):
    """Operators of the graph of a tiny model with four blocks."""
    spec = tiny_spec(depth=4, **changes)
    vit_export.onnx((spec, random_vit(spec, 0).state_dict()), path)
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def test_a_block_turns_in_five_nodes(tmp_path):
    plain = count_nodes(tmp_path / "plain.onnx")
    turning = count_nodes(tmp_path / "rotary.onnx", rotary=Rotary(pairs="interleaved"))
    more = Counter({"Mul": 8, "Split": 7, "Concat": 4, "Add": 4})  # the last turns keys alone
    more["Reshape"] = -3  # queries and keys of the others are cut into heads together
    for operator in plain.keys() | turning.keys():
        assert turning[operator] - plain[operator] == more[operator], operator


def test_blocks_share_one_table_of_each_kind(tmp_path):
    count_nodes(tmp_path / "m.onnx", rotary=Rotary(), image_size=(160, 160))
    names = [one.name for one in onnx.load(tmp_path / "m.onnx").graph.initializer]
    assert [name for name in names if name.endswith(("cos", "sin"))] == [
        "rotation.cos",
        "rotation.sin",
    ]


@torch.no_grad()
def test_another_size_has_the_angles_of_its_own_grid():
    spec = tiny_spec(rotary=Rotary(), positions="none")
    vit = resize_positions(random_vit(spec, 0), (40, 32))
    assert vit.spec.grid == (5, 4)
    assert vit.blocks[0].attention.rotation.angles().shape == (20, 4)
    image = torch.randn(2, 3, 40, 32)
    torch.testing.assert_close(lower(vit)(image), vit(image), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_turn_depends_on_the_distance_of_two_patches_alone():
    rotary = Rotary(coordinates="indices", base=10.0)
    spec = tiny_spec(image_size=(64, 64), rotary=rotary, class_token=False, pool="mean")
    turn, (query, key) = Rotation(spec, rotary), torch.randn(2, 1, 3, 1, 8)
    queries, keys = (
        turn(one.expand(1, 3, 64, 8))[0, 0].unflatten(0, (8, 8)) for one in (query, key)
    )
    products = [(queries[r, c] @ keys[r + 2, c + 1]) for r, c in ((0, 0), (3, 5), (5, 1))]
    torch.testing.assert_close(products[0], products[1])
    torch.testing.assert_close(products[0], products[2])
    assert (queries[0, 0] @ keys[1, 2] - products[0]).abs() > 1e-3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": 4}, "a head has 6"),
        ({"rotary": {"base": 0}}, "rotary.base is 0"),
        ({"rotary": {"base": float("nan")}}, "rotary.base is nan"),
        ({"rotary": {"bases": 1}}, "unknown key 'bases'"),
        ({"rotary": {"pairs": "quarters"}}, "pairs is 'quarters'"),
        ({"rotary": {"reference_grid": [0, 4]}}, "reference_grid is"),
        ({"rotary": "yes"}, "rotary is 'yes'"),
        ({"pool_heads": 2}, "belong to pool = 'map'"),
        ({"pool": "map", "pool_heads": 7}, "do not divide the width"),
    ],
)
def test_what_cannot_turn_is_refused(changes, message):
    values = {"image_size": 16, "patch_size": 8, "width": 24, "depth": 1, "heads": 3, "rotary": {}}
    with pytest.raises(RequestError, match=message):
        VitSpec.from_mapping({**values, **changes}, "here")
