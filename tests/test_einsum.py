"""Every Einsum of two inputs becomes a MatMul with few moves; NumPy judges."""

import numpy as np
import onnx_ir as ir
import pytest
from general_graphs import operators, run_graph

from vit_export.graph.contraction import parse_equation, plan_product
from vit_export.graph.passes.replace_einsum import replace_einsum

LENGTHS = {"b": 3, "h": 2, "i": 5, "j": 4, "d": 6, "e": 7, "n": 5, "g": 8, "w": 9}
FREE = {"b": "batch"}


def einsum_graph(equation, terms, constant=None):
    """A graph of one Einsum; axis b is free, and the second input may be a constant."""
    names = [[FREE.get(axis, length) for axis, length in zip(*one, strict=True)] for one in terms]
    inputs = [f"float{names[number]} {name}".replace("'", "") for number, name in enumerate("xy")]
    text = f'<ir_version: 10, opset_import: ["" : 20]> agraph ({", ".join(inputs)}) => (float z) '
    model = ir.from_onnx_text(text + f'{{ z = Einsum <equation = "{equation}"> (x, y) }}')
    if constant is not None:
        value = model.graph.inputs.pop()
        value.const_value = ir.tensor(constant, name="y")
        model.graph.register_initializer(value)
    model.graph.outputs[0].shape = None
    return model


def shape_of(term):
    return [LENGTHS[axis] for axis in term]


EQUATIONS = {
    "b h i d, b h j d -> b h i j": {"Transpose": 1, "MatMul": 1},
    "bhij,bhjd->bhid": {"MatMul": 1},
    "bhij,hg->bgij": {"Reshape": 2, "MatMul": 1, "Transpose": 1},
    "bhid,bhie->bhde": {"Transpose": 1, "MatMul": 1},
    "bid,de->bie": {"MatMul": 1},
    "bhid,hde->bie": {"Transpose": 1, "Reshape": 2, "MatMul": 1},
    "bhi,bhd->bhid": {"Reshape": 2, "Mul": 1},
    "bid,bd->bi": {"Reshape": 2, "MatMul": 1},
    "bid,bjd->bji": {"Transpose": 1, "MatMul": 1},
    "bihd,bjhd->bhij": {"Transpose": 2, "MatMul": 1},
    "bhij,bjhd->bihd": {"Transpose": 2, "MatMul": 1},
    "bi...,bij->bj...": {"Transpose": 1, "MatMul": 1},
    "...id,...dj->...ij": {"MatMul": 1},
}
WITH_A_CONSTANT = {
    "bhij,hg->bgij": {"Reshape": 2, "MatMul": 1},
    "bid,ed->bie": {"MatMul": 1},
    "bhid,hde->bie": {"Transpose": 1, "Reshape": 1, "MatMul": 1},
    "bihd,ehd->bie": {"Reshape": 1, "MatMul": 1},
    "bhid,hd->bhid": {"Mul": 1},
}


def expand(equation):
    return equation.replace(" ", "").replace("...", "w")


def check(equation, nodes, *, constant):
    terms = expand(equation).split("->")[0].split(",")
    random = np.random.RandomState(0)
    x, y = (random.standard_normal(shape_of(term)).astype(np.float32) for term in terms)
    shapes = [(term, shape_of(term)) for term in terms]
    model = einsum_graph(equation, shapes, y if constant else None)
    assert replace_einsum(model) == 1
    assert operators(model) == nodes
    feeds = {"x": x} if constant else {"x": x, "y": y}
    expected = np.einsum(expand(equation), x, y)
    np.testing.assert_allclose(run_graph(model, **feeds), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("equation", "nodes"), EQUATIONS.items())
def test_a_sum_of_two_tensors_becomes_a_product(equation, nodes):
    check(equation, nodes, constant=False)


@pytest.mark.parametrize(("equation", "nodes"), WITH_A_CONSTANT.items())
def test_a_constant_is_moved_beforehand(equation, nodes):
    check(equation, nodes, constant=True)


@pytest.mark.parametrize(
    ("equation", "ranks"),
    [
        ("bii,bid->bd", (3, 3)),
        ("bid,bij->bd", (3, 3)),
        ("bid,dj", (3, 2)),
        ("bid->bdi", (3,)),
        ("bi,ij->bik", (2, 2)),
    ],
    ids=["a diagonal", "a sum over one input", "no answer", "one input", "an axis of no input"],
)
def test_other_sums_stay(equation, ranks):
    assert parse_equation(equation, ranks) is None


def test_repeated_axes_stay():
    """An axis of length one that NumPy's einsum would repeat is no matrix product."""
    model = einsum_graph("bid,dj->bij", [("bid", (3, 5, 1)), ("dj", (6, 4))])
    assert replace_einsum(model) == 0
    assert operators(model) == {"Einsum": 1}


def test_two_free_axes_are_not_merged():
    model = einsum_graph("bhi,hid->bd", [("bhi", (3, 2, 5)), ("hid", (2, 5, 6))])
    for value, names in zip(model.graph.inputs, ("b h i", "h i d"), strict=True):
        value.shape = ir.Shape(names.split())
    assert replace_einsum(model) == 0


def test_attention_keeps_its_order():
    plan = plan_product("bhid", "bhjd", "bhij", constants=(False, False))
    assert not plan.swapped
    assert plan.second.order == "bhdj"
