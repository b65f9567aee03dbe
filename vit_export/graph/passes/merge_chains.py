"""Chains of transposes and of reshapes become one, and what does nothing goes."""

import onnx_ir as ir

from vit_export.graph.builder import before, constant, permutation


def merge_chains(model: ir.Model) -> int:
    """Merges Transpose after Transpose, Reshape after Reshape, and removes those that do nothing.

    The first of a chain stays for its other readers; `remove_unused` takes it where there are none.
    """
    changed = 0
    for node in model.graph:
        first = before(node, node.op_type)
        changed += first is not None and _merge(node, first)
        if _does_nothing(node) and not node.outputs[0].is_graph_output() and node.inputs[0]:
            ir.convenience.replace_all_uses_with(node.outputs[0], node.inputs[0])
            model.graph.remove(node, safe=True)
            changed += 1
    return changed


def _merge(node: ir.Node, first: ir.Node) -> bool:
    if node.op_type == "Transpose":
        axes = permutation(first)
        joined = [axes[axis] for axis in permutation(node)]
        node.attributes["perm"] = ir.AttrInt64s("perm", joined)
    elif node.op_type != "Reshape" or _copies_axes(node):
        return False
    node.replace_input_with(0, first.inputs[0])
    return True


def _copies_axes(reshape: ir.Node) -> bool:
    """Whether the shape has zeros, which mean "as in my input": that input must stay then."""
    shape = constant(reshape.inputs[1])
    return shape is None or 0 in shape


def _does_nothing(node: ir.Node) -> bool:
    if node.op_type == "Transpose":
        return permutation(node) == tuple(range(len(permutation(node)))) != ()
    if node.op_type == "Reshape":
        shape = node.inputs[0].shape if node.inputs[0] is not None else None
        return shape is not None and shape == node.outputs[0].shape
    return node.op_type == "Identity"
