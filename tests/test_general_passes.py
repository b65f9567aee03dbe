"""Passes over graphs of any module: each fires, is exact, and leaves a near miss alone."""

import numpy as np
import onnx_ir as ir
import pytest
from general_graphs import operators, run_graph

from vit_export.graph.passes.flatten_tokens import flatten_tokens
from vit_export.graph.passes.fold_batch_norms import fold_batch_norms
from vit_export.graph.passes.fold_constants import fold_constants
from vit_export.graph.passes.fold_factors import fold_factors
from vit_export.graph.passes.fuse_attention import fuse_attention
from vit_export.graph.passes.fuse_norms import fuse_norms
from vit_export.graph.passes.infer_shapes import infer_shapes
from vit_export.graph.passes.pad_hidden import pad_hidden
from vit_export.graph.passes.remove_full_slices import remove_full_slices
from vit_export.graph.passes.remove_unused import remove_unused
from vit_export.graph.passes.resolve_casts import resolve_casts
from vit_export.graph.passes.separate_queries import separate_queries
from vit_export.graph.passes.sink_slices import sink_slices
from vit_export.graph.passes.split_projections import split_projections
from vit_export.graph.passes.unstack_projections import unstack_projections
from vit_export.graph.patterns import find_linears

RANDOM = np.random.RandomState(0)
WEIGHTS = {
    name: np.array(RANDOM.standard_normal(shape), np.float32)
    for name, shape in {
        "w": (8, 8),
        "w3": (8, 24),
        "b3": (24,),
        "scale": (8,),
        "bias": (8,),
        "half": (),
        "kernel": (8, 8, 3),
        "five": (5,),
        "up": (16, 8),
        "upb": (16,),
        "down": (8, 16),
        "fives": (1, 5, 1),
        "grid": (5, 5),
        "grids": (2, 5, 5),
        "grids4": (1, 2, 5, 5),
        "columns": (2, 1, 5),
        "row": (1, 1, 8),
        "tokens": (5, 8),
    }.items()
}
WEIGHTS["positive1"] = np.array([0.01], np.float32)
WEIGHTS["two"] = np.array(2, np.float32)
WEIGHTS["five"] = np.exp(WEIGHTS["five"])
WEIGHTS["positive"] = np.exp(WEIGHTS["bias"])
NUMBERS = {
    **{f"n{number}": np.array([number], np.int64) for number in (0, 1, 2, 3, 5, 8)},
    "end": np.array([2**63 - 1], np.int64),
    "last": np.array([-1], np.int64),
    "one": np.array(0, np.int64),
    "thirds": np.array([8, 8, 8], np.int64),
    "heads": np.array([-1, 5, 2, 4], np.int64),
    "joined": np.array([-1, 5, 8], np.int64),
    "stacked": np.array([-1, 5, 3, 2, 4], np.int64),
    "between": np.array([-1, 5, 2, 3, 4], np.int64),
    "interleaved": np.array([-1, 5, 2, 4, 3], np.int64),
    "moved": np.array([-1, 8, 5], np.int64),
    "windows": np.array([-1, 1, 5, 3, 2, 4], np.int64),
    "n4": np.array([4], np.int64),
    "halves": np.array([-1, 5, 2, 2], np.int64),
    "one_image": np.array([1, 5, 2, 4], np.int64),
    "flat": np.array([-1], np.int64),
    "rows": np.array([-1, 8], np.int64),
    "fours": np.array([4, 4], np.int64),
    "turned": np.array([5, -1, 8], np.int64),
    "many": np.array([20000, 8, 8], np.int64),
}
X = RANDOM.standard_normal((3, 5, 8)).astype(np.float32)


def graph(body):
    """A graph over x, (batch, 5, 8), whose other free names are constants."""
    names = {name: array for name, array in (WEIGHTS | NUMBERS).items() if name in words(body)}
    kinds = {"float32": "float", "int64": "int64"}
    inputs = ["float[batch, 5, 8] x"]
    for name, array in names.items():
        inputs.append(f"{kinds[str(array.dtype)]}{list(array.shape) or ''} {name}")
    text = f'<ir_version: 10, opset_import: ["" : 20]> agraph ({", ".join(inputs)}) => (float y) '
    model = ir.from_onnx_text(text + f"{{ {body} }}")
    for value in list(model.graph.inputs[1:]):
        model.graph.inputs.remove(value)
        value.const_value = ir.tensor(names[value.name], name=value.name)
        model.graph.register_initializer(value)
    model.graph.outputs[0].shape = None
    for number, node in enumerate(model.graph):
        node.name = f"{node.op_type}_{number}"
    infer_shapes(model)
    for value in (value for node in model.graph for value in node.outputs):
        value.shape = ir.Shape([one if isinstance(one, int) else "batch" for one in value.shape])
    return model


def words(body):
    for mark in "(),=":
        body = body.replace(mark, " ")
    return body.split()


LN = "LayerNormalization"
Q3 = "a = MatMul(x, w3) p = Add(a, b3)"
SPLIT = "Split <axis = -1>"
ATTEND = "t = Transpose <perm = [0, 1, 3, 2]> (k) s = MatMul(q, t) m = Softmax(s) y = MatMul(m, v)"
FIRES = {
    "transposed weights": (
        fold_constants,
        "t = Transpose <perm = [1, 0]> (w) y = MatMul(x, t)",
        {"MatMul": 1},
    ),
    "a chain over weights": (
        fold_constants,
        "t = Sigmoid(scale) u = Mul(t, bias) z = Exp(u) y = Mul(x, z)",
        {"Mul": 1},
    ),
    "a slice of everything": (
        remove_full_slices,
        "a = Slice(x, n0, end, n0, n1) y = Neg(a)",
        {"Neg": 1},
    ),
    "a slice of everything without steps": (
        remove_full_slices,
        "a = Slice(x, n0, n5, n1) y = Neg(a)",
        {"Neg": 1},
    ),
    "a token after a block": (
        sink_slices,
        (
            f"n = {LN}(x, scale, bias) h = MatMul(n, w) g = Gelu(h) r = Add(g, x) "
            f"o = {LN}(r, scale) a = Gather <axis = 1> (o, one) y = Neg(a)"
        ),
        {"Slice": 1, LN: 2, "MatMul": 1, "Gelu": 1, "Add": 1, "Squeeze": 1, "Neg": 1},
    ),
    "a token of several with positions": (
        sink_slices,
        "c = Concat <axis = 1> (x, x) s = Exp(c) a = Slice(s, n0, n1, n1) y = Neg(a)",
        {"Slice": 1, "Exp": 1, "Neg": 1},
    ),
    "a constant of the same rows": (
        sink_slices,
        "s = Add(x, tokens) a = Slice(s, n1, n2, n1, n1) y = Neg(a)",
        {"Slice": 1, "Add": 1, "Neg": 1},
    ),
    "heads before they are joined": (
        sink_slices,
        (
            "a = Reshape(x, heads) t = Transpose <perm = [0, 2, 1, 3]> (a) e = Softmax(t) "
            "u = Transpose <perm = [0, 2, 1, 3]> (e) j = Reshape(u, joined) "
            "s = Slice(j, n0, n1, n1) y = Neg(s)"
        ),
        {"Reshape": 2, "Transpose": 2, "Softmax": 1, "Slice": 1, "Neg": 1},
    ),
    "a factor behind a product": (
        fold_factors,
        "a = MatMul(x, w) b = Add(a, bias) y = Mul(b, half)",
        {"MatMul": 1, "Add": 1},
    ),
    "a divisor of a part": (
        fold_factors,
        f"{Q3} q, k, v = {SPLIT} (p, thirds) o = Div(q, half) s = Mul(k, v) y = Mul(o, s)",
        {"MatMul": 1, "Add": 1, "Split": 1, "Mul": 2},
    ),
    "a factor on scores": (
        fold_factors,
        (
            "a = MatMul(x, w) h = Reshape(a, heads) q = Transpose <perm = [0, 2, 1, 3]> (h) "
            "g = Reshape(x, heads) k = Transpose <perm = [0, 2, 3, 1]> (g) m = MatMul(q, k) "
            "y = Mul(half, m)"
        ),
        {"MatMul": 2, "Reshape": 2, "Transpose": 2},
    ),
    "a layer scale": (
        fold_factors,
        "a = MatMul(x, w) b = Add(bias, a) c = Mul(scale, b) y = Add(x, c)",
        {"MatMul": 1, "Add": 2},
    ),
    "a factor behind a convolution": (
        fold_factors,
        (
            "t = Transpose <perm = [0, 2, 1]> (x) a = Conv(t, kernel, bias) "
            "b = Reshape(a, rows) y = Mul(b, half)"
        ),
        {"Transpose": 1, "Conv": 1, "Reshape": 1},
    ),
    "a factor behind a norm": (
        fold_factors,
        f"a = {LN}(x, scale, bias) b = Reshape(a, heads) y = Mul(b, half)",
        {LN: 1, "Reshape": 1},
    ),
    "a block": (
        flatten_tokens,
        (
            f"n = {LN}(x, scale, bias) a = MatMul(n, w) b = Add(a, bias) g = Gelu(b) "
            "m = MatMul(g, w) r = Add(m, x) z = Mul(r, row) y = Softmax <axis = 1> (z)"
        ),
        {"Reshape": 2, LN: 1, "Gemm": 2, "Gelu": 1, "Add": 1, "Mul": 1, "Softmax": 1},
    ),
    "parts of a projection": (
        flatten_tokens,
        (
            f"{Q3} q, k, v = {SPLIT} (p, thirds) c = Reshape(q, heads) d = Reshape(k, heads) "
            "e = Reshape(v, heads) s = Mul(c, d) y = Mul(s, e)"
        ),
        {"Reshape": 7, "Gemm": 1, "Split": 1, "Mul": 2},
    ),
    "the query of one token": (
        separate_queries,
        f"{Q3} q, k, v = {SPLIT} (p, thirds) o = Slice(q, n0, n1, n1) s = Mul(k, v) y = Mul(o, s)",
        {"MatMul": 3, "Add": 3, "Slice": 1, "Mul": 2},
    ),
}


@pytest.mark.parametrize(("change", "body", "nodes"), FIRES.values(), ids=FIRES.keys())
def test_a_pass_fires_and_is_exact(change, body, nodes):
    model, original = graph(body), graph(body)
    assert change(model) > 0
    remove_unused(model)
    assert operators(model) == nodes
    assert [one.name for one in model.graph.outputs] == [one.name for one in original.graph.outputs]
    assert len({node.name for node in model.graph}) == len(model.graph)
    expected = run_graph(original, x=X)
    np.testing.assert_allclose(run_graph(model, x=X), expected, rtol=1e-5, atol=1e-5)
    assert change(model) == 0


FIRES["projections that share a bias"] = (
    split_projections,
    (
        "r = Reshape(x, rows) c = Gemm <transB = 1> (r, w, bias) "
        "d, e = Split <axis = 1> (c, fours)"
        "f = Gemm <transB = 1> (r, w, bias) g, h = Split <axis = 1> (f, fours) "
        "a = Mul(d, g) b = Mul(e, h) y = Sub(a, b)"
    ),
    {"Reshape": 1, "Gemm": 4, "Mul": 2, "Sub": 1},
)


NORM = "scale, bias, bias, positive"
FIRES |= {
    "a batch norm behind a projection": (
        fold_batch_norms,
        f"r = Reshape(x, rows) a = MatMul(r, w) y = BatchNormalization(a, {NORM})",
        {"Reshape": 1, "MatMul": 1, "Add": 1},
    ),
    "a batch norm behind tokens with a bias": (
        fold_batch_norms,
        (
            "a = MatMul(x, w) b = Add(a, bias) r = Reshape(b, rows) "
            f"c = BatchNormalization <epsilon = 0.1> (r, {NORM}) y = Reshape(c, joined)"
        ),
        {"Reshape": 2, "MatMul": 1, "Add": 1},
    ),
    "a batch norm behind a Gemm": (
        fold_batch_norms,
        (
            "r = Reshape(x, rows) a = Gemm <transB = 1> (r, w) "
            f"y = BatchNormalization <epsilon = 0.1> (a, {NORM})"
        ),
        {"Reshape": 1, "Gemm": 1},
    ),
    "a batch norm behind a convolution": (
        fold_batch_norms,
        (
            "t = Transpose <perm = [0, 2, 1]> (x) a = Conv(t, kernel) "
            f"y = BatchNormalization(a, {NORM})"
        ),
        {"Transpose": 1, "Conv": 1},
    ),
    "a batch norm behind a convolution with a bias": (
        fold_batch_norms,
        (
            "t = Transpose <perm = [0, 2, 1]> (x) a = Conv(t, kernel, bias) "
            f"y = BatchNormalization(a, {NORM})"
        ),
        {"Transpose": 1, "Conv": 1},
    ),
    "a cast to the same type": (resolve_casts, "a = CastLike(scale, x) y = Mul(x, a)", {"Mul": 1}),
    "a cast to another type": (
        resolve_casts,
        "a = CastLike(n2, x) y = Mul(x, a)",
        {"Cast": 1, "Mul": 1},
    ),
}
SPELLED = (
    "m = ReduceMean(x, {axis}) d = Sub(x, m) s = Mul(d, d) v = ReduceMean(s, {axis}) "
    "e = Add(v, positive1) r = Sqrt(e) n = Div(d, r)"
)
FIRES |= {
    "a norm of tokens in pieces": (
        fuse_norms,
        SPELLED.format(axis="n2") + " g = Mul(n, scale) y = Add(bias, g)",
        {LN: 1},
    ),
    "a norm of channels in pieces": (
        fuse_norms,
        SPELLED.format(axis="n1") + " g = Mul(n, fives) y = Add(g, fives)",
        {LN: 1, "Transpose": 2},
    ),
    "a norm with a square and without weights": (
        fuse_norms,
        SPELLED.format(axis="last").replace("Mul(d, d)", "Pow(d, two)") + " y = Neg(n)",
        {LN: 1, "Neg": 1},
    ),
}
STAY = {
    "a norm without a mean": (
        fuse_norms,
        "s = Mul(x, x) v = ReduceMean(s, n2) e = Add(v, positive1) r = Sqrt(e) y = Div(x, r)",
    ),
    "a norm by another axis": (
        fuse_norms,
        (
            "m = ReduceMean(x, n2) d = Sub(x, m) s = Mul(d, d) v = ReduceMean(s, n1) "
            "e = Add(v, positive1) r = Sqrt(e) y = Div(d, r)"
        ),
    ),
    "a deviation from something else": (
        fuse_norms,
        "c = Sub(x, scale) " + SPELLED.format(axis="n2").replace("Div(d", "Div(c") + " y = Neg(n)",
    ),
    "a deviation from another mean": (
        fuse_norms,
        (
            "m = ReduceMean(x, n2) d = Sub(x, m) c = Sub(x, scale) s = Mul(c, c) "
            "v = ReduceMean(s, n2) e = Add(v, positive1) r = Sqrt(e) y = Div(d, r)"
        ),
    ),
    "a batch norm of tokens": (
        fold_batch_norms,
        "a = MatMul(x, w) y = BatchNormalization(a, five, five, five, five)",
    ),
    "a batch norm of what others read": (
        fold_batch_norms,
        f"r = Reshape(x, rows) a = MatMul(r, w) b = BatchNormalization(a, {NORM}) y = Add(a, b)",
    ),
    "a norm between transposes": (
        flatten_tokens,
        (
            "t = Transpose <perm = [0, 2, 1]> (x) "
            f"a = {LN}(t, five) y = Transpose <perm = [0, 2, 1]> (a)"
        ),
    ),
    "positions of tokens": (flatten_tokens, "y = Add(x, tokens)"),
    "a norm over tokens and channels": (
        flatten_tokens,
        f"a = {LN} <axis = 1> (x, tokens) y = Neg(a)",
    ),
    "a product of two tensors": (
        flatten_tokens,
        "t = Transpose <perm = [0, 2, 1]> (x) a = MatMul(x, t) y = Neg(a)",
    ),
    "the answer itself": (flatten_tokens, "y = MatMul(x, w)"),
    "a factor on what others read": (
        fold_factors,
        "a = MatMul(x, w) b = Mul(a, half) y = Add(a, b)",
    ),
    "a factor on keys that are read twice": (
        fold_factors,
        "t = Transpose <perm = [0, 2, 1]> (x) m = MatMul(x, t) y = Mul(m, half)",
    ),
    "a constant over a product": (fold_factors, "a = MatMul(x, w) y = Div(half, a)"),
    "a factor for each token": (fold_factors, "a = MatMul(x, w) y = Mul(a, tokens)"),
    "a layer scale behind heads": (
        fold_factors,
        "a = MatMul(x, w) b = Reshape(a, turned) y = Mul(b, scale)",
    ),
    "random numbers": (fold_constants, "t = RandomNormalLike(w) y = MatMul(x, t)"),
    "a result that is far larger": (
        fold_constants,
        (
            "t = Expand(w, many) r = ReduceSum <keepdims = 0> (t, n0) a = Shape(t) "
            "b = Reshape(x, joined) y = Add(b, tokens)"
        ),
    ),
    "a slice of less": (remove_full_slices, "a = Slice(x, n0, n3, n1) y = Neg(a)"),
    "a slice backwards": (remove_full_slices, "a = Slice(x, n0, end, n1, last) y = Neg(a)"),
    "half of an axis": (sink_slices, "e = Exp(x) a = Slice(e, n0, n3, n1) y = Neg(a)"),
    "a value with another reader": (
        sink_slices,
        "e = Exp(x) a = Slice(e, n0, n1, n1) y = Mul(e, a)",
    ),
    "a softmax over the tokens": (
        sink_slices,
        "e = Softmax <axis = 1> (x) a = Slice(e, n0, n1, n1) y = Neg(a)",
    ),
    "a norm over the tokens": (
        sink_slices,
        f"e = {LN} <axis = 1> (x, tokens) a = Slice(e, n0, n1, n1) y = Neg(a)",
    ),
    "columns of a product": (
        sink_slices,
        "e = MatMul(x, w) a = Slice(e, n0, n1, n2) y = Neg(a)",
    ),
    "a reshape that moves tokens": (
        sink_slices,
        "f = Reshape(x, moved) a = Slice(f, n0, n1, n1) y = Neg(a)",
    ),
    "queries of all tokens": (
        separate_queries,
        f"{Q3} q, k, v = {SPLIT} (p, thirds) s = Mul(k, v) y = Mul(q, s)",
    ),
    "a projection with another reader": (
        separate_queries,
        (
            f"{Q3} q, k, v = {SPLIT} (p, thirds) o = Slice(q, n0, n1, n1) s = Mul(k, v) "
            "r = Mul(o, s) m = ReduceMean(p) y = Mul(r, m)"
        ),
    ),
}


@pytest.mark.parametrize(("change", "body"), STAY.values(), ids=STAY.keys())
def test_a_near_miss_stays(change, body):
    model = graph(body)
    before = ir.to_proto(model)
    assert change(model) == 0
    assert ir.to_proto(model) == before


ORDERS = {
    "parts first": ("stacked", (2, 0, 3, 1, 4)),
    "parts between": ("between", (3, 0, 2, 1, 4)),
    "parts last": ("interleaved", (4, 0, 2, 1, 3)),
}
PARTS = {
    "by Gather": "i1 = Squeeze(n1) i2 = Squeeze(n2) q = Gather(f, one) k = Gather(f, i1) "
    "v = Gather(f, i2)",
    "by Split": "a0, a1, a2 = Split <num_outputs = 3> (f) q = Squeeze(a0, n0) k = Squeeze(a1, n0) "
    "v = Squeeze(a2, n0)",
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("parts", PARTS)
def test_a_stack_is_taken_apart(order, parts):
    shape, perm = ORDERS[order]
    body = f"{Q3} r = Reshape(p, {shape}) f = Transpose <perm = {list(perm)}> (r) {PARTS[parts]} "
    body += ATTEND
    model, original = graph(body), graph(body)
    fold_constants(model)
    assert unstack_projections(model) == 1
    remove_unused(model)
    counts = operators(model)
    assert (counts["Split"], counts["Reshape"], counts["Gather"], counts["Squeeze"]) == (1, 3, 0, 0)
    expected = run_graph(original, x=X)
    np.testing.assert_allclose(run_graph(model, x=X), expected, rtol=1e-5, atol=1e-5)
    assert unstack_projections(model) == 0


def attention(bias):
    return (
        "r = Reshape(x, rows) a = Reshape(r, heads) q = Transpose <perm = [0, 2, 1, 3]> (a) "
        "k = Transpose <perm = [0, 2, 3, 1]> (a) s = MatMul(q, k) "
        f"p = Add({bias}) m = Softmax <axis = -1> (p) n = MatMul(m, q) "
        "t = Transpose <perm = [0, 2, 1, 3]> (n) y = Reshape(t, joined)"
    )


@pytest.mark.parametrize("bias", ["s, grid", "grid, s", "s, grids", "s, grids4"])
def test_attention_with_a_constant_bias_is_fused(bias):
    model, original = graph(attention(bias)), graph(attention(bias))
    assert fuse_attention(model) == 1
    remove_unused(model)
    counts = operators(model)
    assert (counts["MultiHeadAttention"], counts["Softmax"], counts["Add"]) == (1, 0, 0)
    expected = run_graph(original, x=X)
    np.testing.assert_allclose(run_graph(model, x=X), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bias", ["s, five", "s, s", "s, columns"])
def test_attention_with_another_bias_stays(bias):
    assert fuse_attention(graph(attention(bias))) == 0


def test_two_attentions_of_one_module_are_fused():
    body = attention("s, grid").replace("y = Reshape(t, joined)", "z = Reshape(t, joined)")
    body += " b = Transpose <perm = [0, 2, 3, 1]> (a) c = MatMul(q, b) d = Softmax(c) "
    body += "e = MatMul(d, q) f = Transpose <perm = [0, 2, 1, 3]> (e) g = Reshape(f, joined) "
    body += "y = Add(z, g)"
    model, original = graph(body), graph(body)
    assert fuse_attention(model) == 2
    remove_unused(model)
    expected = run_graph(original, x=X)
    np.testing.assert_allclose(run_graph(model, x=X), expected, rtol=1e-5, atol=1e-5)


def hidden_layers(width, activation="Gelu", rest="y = Neg(m)"):
    """A graph of an MLP of this hidden width."""
    body = f"r = Reshape(x, rows) h = Gemm <transB = 1> (r, up, upb) g = {activation}(h) "
    model = graph(body + f"m = Gemm <transB = 1> (g, down, bias) {rest}")
    random = np.random.RandomState(1)
    shapes = {"up": (width, 8), "upb": (width,), "down": (8, width)}
    for name, shape in shapes.items():
        value = model.graph.initializers[name]
        array = random.standard_normal(shape).astype(np.float32)
        value.const_value, value.shape = ir.tensor(array, name=name), ir.Shape(shape)
    for node in model.graph:
        if node.op_type in {"Gemm", activation} and node.outputs[0].name in "hg":
            node.outputs[0].shape = ir.Shape([None, width])
    return model


def test_a_hidden_width_that_aliases_is_padded():
    model, original = hidden_layers(1024), hidden_layers(1024)
    assert pad_hidden(model) == 1
    assert model.graph.initializers["down"].shape == (8, 1040)
    expected = run_graph(original, x=X)
    np.testing.assert_allclose(run_graph(model, x=X), expected, rtol=1e-4, atol=1e-3)
    assert pad_hidden(model) == 0


@pytest.mark.parametrize(
    "changes",
    [{"width": 1000}, {"activation": "Sigmoid"}, {"rest": "s = ReduceSum(g) y = Mul(m, s)"}],
    ids=["another width", "an activation of zero that is not zero", "a second reader"],
)
def test_other_hidden_layers_stay(changes):
    assert pad_hidden(hidden_layers(**{"width": 1024} | changes)) == 0


OTHER_VALUES = {
    "fewer channels in values": (
        "u = Slice(x, n0, n4, n2) v4 = Reshape(u, halves) v = Transpose <perm = [0, 2, 1, 3]> (v4)"
    ),
    "queries of all images": (
        "w5 = Reshape(tokens, one_image) v = Transpose <perm = [0, 2, 1, 3]> (w5)"
    ),
}


@pytest.mark.parametrize("values", OTHER_VALUES.values(), ids=OTHER_VALUES.keys())
def test_an_attention_that_the_runtime_lacks_stays(values):
    body = attention("s, grid").replace("n = MatMul(m, q)", f"{values} n = MatMul(m, v)")
    model = graph(body.replace("joined)", "flat)"))
    assert fuse_attention(model) == 0


WINDOWS = "q = Gather(f, one) y = Softmax <axis = 1> (q)"


def test_a_stack_of_windows_is_taken_apart():
    body = f"{Q3} r = Reshape(p, windows) f = Transpose <perm = [3, 0, 4, 2, 1, 5]> (r) {WINDOWS}"
    model, original = graph(body), graph(body)
    assert unstack_projections(model) == 1
    remove_unused(model)
    assert (operators(model)["Split"], operators(model)["Gather"]) == (1, 0)
    expected = run_graph(original, x=X)
    np.testing.assert_allclose(run_graph(model, x=X), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "rest",
    ["q = Gather(f, one) k = Neg(f) v = Neg(f) y = Add(q, k)", "y = Neg(f)"],
    ids=["the whole is read too", "no part is taken"],
)
def test_a_stack_that_is_read_as_a_whole_stays(rest):
    model = graph(f"{Q3} r = Reshape(p, stacked) f = Transpose <perm = [2, 0, 3, 1, 4]> (r) {rest}")
    assert unstack_projections(model) == 0


def test_an_interleaved_stack_without_weights_stays():
    body = "e = Concat <axis = 2> (x, x, x) r = Reshape(e, interleaved) "
    body += "f = Transpose <perm = [4, 0, 2, 1, 3]> (r) y = Gather(f, one)"
    model = graph(body)
    assert unstack_projections(model) == 0


def test_linear_layers_keep_their_names_and_get_biases():
    model = graph("a = MatMul(x, w) b = Add(a, bias) g = Gelu(b) m = MatMul(g, w) y = Neg(m)")
    for node in model.graph:
        node.name = f"mlp.{'up' if node.op_type in {'Add', 'MatMul'} else 'rest'}/{node.name}"
    flatten_tokens(model)
    linears = find_linears(model.graph)
    assert [linear.module for linear in linears] == ["mlp.up", "mlp.up"]
    assert not linears[1].bias.any()
