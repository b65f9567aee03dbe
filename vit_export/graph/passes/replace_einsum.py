"""Replace an Einsum of two inputs by MatMul or Mul: runtimes have fast code for these alone."""

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from vit_export.graph.builder import NodeBuilder, read_constant
from vit_export.graph.contraction import Operand, Plan, parse_equation, plan_product
from vit_export.graph.shapes import (
    Dimension,
    Dimensions,
    merge_dimensions,
    read_shape,
    reshape_target,
)

Lengths = Mapping[str, Dimension]
"""Length of each axis by its letter."""


def replace_einsum(model: ir.Model) -> int:
    """Replace each Einsum that is a product of two tensors; return the number of changes.

    Transposes and reshapes stand around the MatMul only where the axes need them.
    """
    sums = [node for node in model.graph if node.op_type == "Einsum"]
    return sum(_replace(model, node) for node in sums)


def _replace(model: ir.Model, node: ir.Node) -> bool:
    shapes = [shape for value in node.inputs if (shape := read_shape(value)) is not None]
    equation = node.attributes.get_string("equation") or ""
    axes = parse_equation(equation, [len(shape) for shape in shapes])
    if axes is None or len(shapes) != len(node.inputs):
        return False
    lengths = _measure_axes(axes[:2], shapes)
    if lengths is None:
        return False
    first, second = (read_constant(value) is not None for value in node.inputs)
    plan = plan_product(*axes, constants=(first, second))
    if not all(_can_reshape(one, lengths) for one in (plan.first, plan.second, plan.result)):
        return False
    _build_product(model, node, plan, lengths)
    return True


def _measure_axes(
    terms: Sequence[str], shapes: Sequence[Dimensions]
) -> dict[str, Dimension] | None:
    """Return the length of each axis, or None if inputs disagree: one of them is repeated."""
    lengths: dict[str, Dimension] = {}
    for term, shape in zip(terms, shapes, strict=True):
        for axis, length in zip(term, shape, strict=True):
            if lengths.setdefault(axis, length) != length:
                return None
    return lengths


def _can_reshape(operand: Operand, lengths: Lengths) -> bool:
    """Whether at most one axis is free wherever axes are merged or added."""
    forms = (_grouped_shape(operand, lengths), [lengths[axis] for axis in operand.letters])
    return not operand.merges or all(reshape_target(form) is not None for form in forms)


def _grouped_shape(operand: Operand, lengths: Lengths) -> Dimensions:
    return tuple(merge_dimensions(lengths[axis] for axis in group) for group in operand.groups)


def _build_product(model: ir.Model, node: ir.Node, plan: Plan, lengths: Lengths) -> None:
    build = NodeBuilder(model, node)
    values = reversed(node.inputs) if plan.swapped else node.inputs
    factors = [
        _arrange(build, value, operand, lengths)
        for value, operand in zip(values, (plan.first, plan.second), strict=True)
        if value is not None
    ]
    shape = _grouped_shape(plan.result, lengths)
    product = build("MatMul" if plan.inner else "Mul", *factors, shape=shape)
    build.replace_anchor(_restore(build, product, plan.result, lengths))


def _arrange(build: NodeBuilder, value: ir.Value, operand: Operand, lengths: Lengths) -> ir.Value:
    """Return `value` with its axes in the groups of `operand`; a constant changes itself."""
    axes = [operand.letters.index(axis) for axis in operand.order]
    shape = _grouped_shape(operand, lengths)
    array = read_constant(value)
    if array is not None and (operand.moves or operand.merges):
        return build.add_constant(value.name or "factor", array.transpose(axes).reshape(shape))
    if operand.moves:
        moved = [lengths[axis] for axis in operand.order]
        value = build("Transpose", value, perm=axes, shape=moved)
    if operand.merges:
        value = build("Reshape", value, reshape_target(shape), shape=shape)
    return value


def _restore(build: NodeBuilder, value: ir.Value, result: Operand, lengths: Lengths) -> ir.Value:
    """Return the product with its axes as the answer has them."""
    order = [lengths[axis] for axis in result.order]
    if result.merges:
        value = build("Reshape", value, reshape_target(order), shape=order)
    if result.moves:
        axes = [result.order.index(axis) for axis in result.letters]
        value = build("Transpose", value, perm=axes)
    return value
