"""Attention, split and unbind become few nodes, exact at every batch size; eager PyTorch judges."""

import torch
from general_graphs import assert_answers_like, capture_module, operators
from torch import nn
from torch.nn.functional import scaled_dot_product_attention


class Attentions(nn.Module):
    """Every kind of attention over the same numbers."""

    def forward(self, x):
        return torch.stack([function(x).flatten(1) for function in ATTENTIONS.values()], 1)


class Parts(nn.Module):
    """Every way to take parts of the same numbers."""

    def forward(self, x):
        return torch.cat([function(x).flatten(1) for function in SPLITS.values()], 1)


def heads(x):
    """(B, 3, 16, 24) as queries, keys and values of 3 heads, 16 tokens and 8 channels."""
    return x[..., :8], x[..., 8:16], x[..., 16:]


def additive(x):
    return scaled_dot_product_attention(*heads(x), attn_mask=x[..., :16])


def masked(x):
    """A mask that hides some keys from every query, and everything from some."""
    mask = (x[..., :16] > 0) & (x[..., :1] > -1)
    return scaled_dot_product_attention(*heads(x), attn_mask=mask)


def attend(**options):
    return lambda x: scaled_dot_product_attention(*heads(x), **options)


def rank_3(x):
    return scaled_dot_product_attention(*heads(x.flatten(1, 2)))


def rank_5(x):
    return scaled_dot_product_attention(*heads(x[:, :, None]))


def grouped(x):
    query, key, value = heads(x.unflatten(2, (4, 4)).flatten(1, 2))
    return scaled_dot_product_attention(query, key[:, ::6], value[:, ::6], enable_gqa=True)


ATTENTIONS = {
    "a scale of one": attend(scale=1.0),
    "its own scale": attend(),
    "a given scale": attend(scale=0.5),
    "a bias": additive,
    "a mask": masked,
    "causal": attend(is_causal=True),
    "rank 3": rank_3,
    "rank 5": rank_5,
    "shared keys": grouped,
}
SPLITS = {
    "equal parts": lambda x: x.chunk(3, -1)[1],
    "an uneven last part": lambda x: x.split(9, 3)[2],
    "one part": lambda x: x.split(24, -1)[0],
    "more than there is": lambda x: x.split(99, -1)[0],
    "several sizes": lambda x: x.split((3, 1, 20), -1)[2],
    "a single size": lambda x: x.split((24,), -1)[0],
    "unbind": lambda x: x.unbind(1)[2] - x.unbind(1)[0],
    "unbind of one": lambda x: x[:, :, :, :1].unbind(-1)[0],
}


def test_attention_is_a_few_nodes():
    module, model = Attentions(), capture_module(Attentions())
    counts = operators(model)
    kinds = len(ATTENTIONS)
    assert (counts["Softmax"], counts["MatMul"], counts["Mul"]) == (kinds, 2 * kinds, kinds - 1)
    assert (counts["Where"], counts["Trilu"], counts["Sqrt"]) == (3, 1, 0)
    assert_answers_like(model, module)


def test_parts_are_one_split():
    module, model = Parts(), capture_module(Parts())
    counts = operators(model)
    assert (counts["Split"], counts["Squeeze"]) == (5, 4)  # one is of the batch size
    assert not {"SplitToSequence", "SequenceAt"} & set(counts)
    assert_answers_like(model, module)


@torch.no_grad()
def test_a_row_without_keys_answers_zeros():
    x = torch.randn(2, 3, 16, 24, generator=torch.Generator().manual_seed(1))
    assert (masked(x) == 0).all(-1).any()
