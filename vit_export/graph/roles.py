"""What the layers of a graph are for, read off the nodes between them."""

from collections.abc import Iterator, Mapping

import onnx_ir as ir

from vit_export.graph.builder import find_producer, find_reader, read_constant, read_permutation
from vit_export.graph.patterns import Attention
from vit_export.graph.projections import has_one_reader
from vit_export.graph.shapes import read_shape
from vit_export.graph.slices import read_cut
from vit_export.model.layered import LayerRoles, NormReaders, ValueProjection

PRODUCTS = frozenset({"Gemm", "MatMul", "Conv", "ConvTranspose", "Einsum"})
ACTIVATIONS = frozenset(
    {
        *("Gelu", "Erf", "Tanh", "Sigmoid", "Relu", "LeakyRelu", "Elu", "Selu", "Softplus"),
        *("HardSwish", "HardSigmoid", "Mish", "Swish"),
    }
)
ELEMENTWISE = frozenset({"Add", "Sub", "Mul", "Div", "Pow", "Clip", "Cast", "Identity"})
MOVES = frozenset({"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Split", "Slice"})
"""Operators that move numbers and change none."""


def find_roles(
    model: ir.Model,
    linears: Mapping[str, ir.Node],
    norms: Mapping[str, ir.Node],
    attentions: Mapping[str, Attention],
) -> LayerRoles:
    """Return what the layers of `model` are for.

    Args:
        model: a graph after all passes.
        linears: Gemms with constant weights by layer name, in the order of the graph.
        norms: LayerNormalizations by layer name.
        attentions: attentions by layer name.
    """
    names = {node: name for name, node in linears.items()}
    patches = tuple(name for name, node in linears.items() if _reads_image(node))
    rows = str((read_shape(model.graph.inputs[0]) or ("",))[0])
    walked = (node for answer in model.graph.outputs for node in _walk_head(answer, rows))
    head = {names[node] for node in walked if node in names}
    parts = {*patches, *head}
    return LayerRoles(
        blocks=tuple(name for name in linears if name not in parts),
        parts={"patches": patches, "head": tuple(name for name in linears if name in head)},
        norms=tuple(_find_norms(norms, names)),
        value_projections=tuple(_find_value_projections(attentions, names)),
        attentions=tuple(attentions),
        activated=frozenset(name for name, node in linears.items() if _reads_activation(node)),
    )


def _reads_image(node: ir.Node) -> bool:
    """Whether no product stands between the image and `node`."""
    waiting, seen = [node.inputs[0]], set[ir.Value]()
    while waiting:
        value = waiting.pop()
        if value is None or value in seen or read_constant(value) is not None:
            continue
        seen.add(value)
        producer = value.producer()
        if producer is not None and producer.op_type in PRODUCTS:
            return False
        waiting += producer.inputs if producer is not None else ()
    return True


def _walk_head(value: ir.Value | None, rows: str) -> Iterator[ir.Node]:
    """Yield the Gemms of one row per image that lead to an answer, from the last to the first.

    Norms and residual sums end the way: the MLP of a last block is no head.
    """
    node = value.producer() if value is not None else None
    shape = read_shape(value)
    if node is None or shape is None or str(shape[0]) != rows:
        return
    if node.op_type == "Gemm":
        yield node
        yield from _walk_head(node.inputs[0], rows)
    elif node.op_type in ACTIVATIONS | ELEMENTWISE | MOVES | {"Softmax", "Concat"}:
        sources = [one for one in node.inputs if one is not None and read_constant(one) is None]
        if len(sources) == 1 or all(find_producer(one, "Gemm") for one in sources):
            for source in sources:
                yield from _walk_head(source, rows)


def _reads_activation(node: ir.Node) -> bool:
    """Whether an activation function stands before `node`, and no norm or product after it."""
    waiting, seen = [node.inputs[0]], set[ir.Value | None]()
    while waiting:
        value = waiting.pop()
        producer = value.producer() if value is not None and value not in seen else None
        seen.add(value)
        if producer is None:
            continue
        if producer.op_type in ACTIVATIONS:
            return True
        if producer.op_type in ELEMENTWISE | MOVES and producer.op_type != "Add":
            waiting += producer.inputs
    return False


def _find_norms(
    norms: Mapping[str, ir.Node], names: Mapping[ir.Node, str]
) -> Iterator[NormReaders]:
    for name, norm in norms.items():
        readers = _find_readers(norm, names)
        if readers:
            yield NormReaders(name, tuple(readers))


def _find_readers(norm: ir.Node, names: Mapping[ir.Node, str]) -> list[str]:
    """Return the layers that read `norm`; none if anything else reads it.

    Between them, rows may be moved and left out: windows are shifted and cut.
    """
    waiting, seen, readers = [norm.outputs[0]], set[ir.Value](), list[str]()
    joined = list[ir.Node]()
    while waiting:
        value = waiting.pop()
        seen.add(value)
        if value.is_graph_output():
            return []
        for node in dict.fromkeys(use.node for use in value.uses()):
            if node in names and node.inputs[0] is value:
                readers.append(names[node])
            elif not _moves_rows(node):
                return []
            else:
                joined += [node] if node.op_type == "Concat" else []
                waiting += [one for one in node.outputs if one not in seen]
    if any(one not in seen for node in joined for one in node.inputs):
        return []
    order = {name: number for number, name in enumerate(names.values())}
    return sorted(set(readers), key=order.__getitem__)


def _moves_rows(node: ir.Node) -> bool:
    """Whether each row of the output is a row of the input, in channels as before."""
    before, after = read_shape(node.inputs[0]), read_shape(node.outputs[0])
    if before is None or after is None or before[-1] != after[-1]:
        return False
    if node.op_type == "Reshape":
        return isinstance(after[-1], int)
    if node.op_type == "Transpose":
        return read_permutation(node)[-1] == len(after) - 1
    if node.op_type == "Concat":
        return node.attributes.get_int("axis", 0) % len(after) != len(after) - 1
    cut = read_cut(node)
    return cut is not None and cut.axis != len(before) - 1


def _find_value_projections(
    attentions: Mapping[str, Attention], names: Mapping[ir.Node, str]
) -> Iterator[ValueProjection]:
    """Yield the layers before and behind each attention between which values may be shifted."""
    for name, attention in attentions.items():
        values = _find_values(attention, names)
        projection = _find_projection(attention, names)
        if values is not None and projection is not None:
            yield ValueProjection(values, projection, f"{name}.values")


def _find_values(attention: Attention, names: Mapping[ir.Node, str]) -> str | None:
    """Return the layer whose last rows compute the values, which nothing else reads."""
    value: ir.Value | None = attention.inputs[2]
    while reshape := find_producer(value, "Reshape"):
        if not has_one_reader(value):
            return None
        value = reshape.inputs[0]
    shape = read_shape(value)
    if shape is None or shape[-1] != attention.width:
        return None
    split = find_producer(value, "Split")
    if split is not None and split.outputs[-1] is value and has_one_reader(value):
        rank = len(read_shape(split.inputs[0]) or ())
        if split.attributes.get_int("axis", 0) not in {-1, rank - 1}:
            return None
        value = split.inputs[0]
    gemm = find_producer(value, "Gemm")
    return names.get(gemm) if gemm is not None and has_one_reader(value) else None


def _find_projection(attention: Attention, names: Mapping[ir.Node, str]) -> str | None:
    """Return the only layer that reads the joined heads."""
    node = attention.output_transpose
    while reshape := find_reader(node, "Reshape"):
        node = reshape
    gemm, shape = find_reader(node, "Gemm"), read_shape(node.outputs[0])
    fits = shape is not None and shape[-1] == attention.width
    return names.get(gemm) if gemm is not None and fits else None
