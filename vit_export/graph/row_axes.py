"""Which axes of a node's inputs an axis of its output comes from, one element from one."""

from collections.abc import Callable

import onnx_ir as ir

from vit_export.graph.builder import read_constant, read_permutation
from vit_export.graph.shapes import read_shape

Axes = tuple[int | None, ...]
"""An axis for each input; None for an input that stays whole."""

ELEMENTWISE = frozenset(
    {
        *("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Where"),
        *("Neg", "Abs", "Exp", "Log", "Sqrt", "Reciprocal", "Clip", "Cast", "Identity"),
        *("Erf", "Tanh", "Sigmoid", "Relu", "LeakyRelu", "Elu", "Selu", "Softplus"),
        *("Gelu", "Mish", "HardSwish", "HardSigmoid"),
    }
)
"""Operators whose inputs are broadcast against each other."""
NORMALIZATIONS = frozenset({"LayerNormalization", "RMSNormalization"})
"""Operators over all axes from their attribute `axis` on."""
SOFTMAXES = frozenset({"Softmax", "LogSoftmax", "LpNormalization"})
"""Operators over their attribute `axis` alone."""
REDUCTIONS = frozenset({"ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2"})


def find_input_axes(node: ir.Node, axis: int) -> Axes | None:
    """Return where the elements of an axis of the output come from.

    A range of the axis may be computed from the same range of these axes alone. None: the node
    mixes the elements, or nothing is known of it.
    """
    output = read_shape(node.outputs[0])
    if output is None or len(node.outputs) != 1:
        return None
    axes = _rule_for(node.op_type)(node, axis, len(output))
    if axes is None or all(one is None for one in axes):
        return None
    for value, one in zip(node.inputs, axes, strict=True):
        shape = read_shape(value) if one is not None else None
        if one is not None and (shape is None or shape[one] != output[axis]):
            return None
    return axes


def _rule_for(op_type: str) -> Callable[[ir.Node, int, int], Axes | None]:
    if op_type in ELEMENTWISE:
        return _broadcast
    if op_type in NORMALIZATIONS:
        return _rows
    if op_type in SOFTMAXES:
        return _other_axis
    if op_type in REDUCTIONS:
        return _reduced
    return RULES.get(op_type, lambda _node, _axis, _rank: None)


def _broadcast(node: ir.Node, axis: int, rank: int) -> Axes | None:
    axes: list[int | None] = []
    for value in node.inputs:
        shape = read_shape(value)
        if value is not None and shape is None:
            return None
        own = axis - rank + len(shape or ())
        axes.append(own if shape is not None and own >= 0 and shape[own] != 1 else None)
    return tuple(axes)


def _first_alone(node: ir.Node, axis: int) -> Axes:
    return (axis, *[None] * (len(node.inputs) - 1))


def _rows(node: ir.Node, axis: int, rank: int) -> Axes | None:
    first = node.attributes.get_int("axis", -1) % rank
    return _first_alone(node, axis) if axis < first else None


def _other_axis(node: ir.Node, axis: int, rank: int) -> Axes | None:
    own = node.attributes.get_int("axis", -1) % rank
    return _first_alone(node, axis) if axis != own else None


def _reduced(node: ir.Node, axis: int, rank: int) -> Axes | None:
    axes = read_constant(node.inputs[1]) if len(node.inputs) > 1 else None
    if axes is None or not node.attributes.get_int("keepdims", 1):
        return None
    return _first_alone(node, axis) if axis not in {int(one) % rank for one in axes} else None


def _product(node: ir.Node, axis: int, rank: int) -> Axes | None:
    """Rows come from the first factor; leading axes from both; columns are no matter of rows."""
    shapes = [read_shape(value) for value in node.inputs]
    if any(shape is None or len(shape) < 2 for shape in shapes) or axis == rank - 1:  # noqa: PLR2004
        return None
    if axis == rank - 2:
        return (len(shapes[0] or ()) - 2, None)
    return _broadcast(node, axis, rank)


def _transposed(node: ir.Node, axis: int, _rank: int) -> Axes | None:
    axes = read_permutation(node)
    return (axes[axis],) if axes else None


def _reshaped(node: ir.Node, axis: int, _rank: int) -> Axes | None:
    """An axis is the same if all up to it are."""
    before, after = read_shape(node.inputs[0]), read_shape(node.outputs[0])
    same = before is not None and after is not None and before[: axis + 1] == after[: axis + 1]
    return (axis, None) if same else None


def _sliced(node: ir.Node, axis: int, _rank: int) -> Axes | None:
    from vit_export.graph.slices import read_cut

    cut = read_cut(node)
    return _first_alone(node, axis) if cut is not None and cut.axis != axis else None


def _joined(node: ir.Node, axis: int, rank: int) -> Axes | None:
    own = node.attributes.get_int("axis", 0) % rank
    return (axis,) * len(node.inputs) if axis != own else None


RULES: dict[str, Callable[[ir.Node, int, int], Axes | None]] = {
    "MatMul": _product,
    "Transpose": _transposed,
    "Reshape": _reshaped,
    "Slice": _sliced,
    "Concat": _joined,
}
