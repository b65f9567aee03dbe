"""Merge chains of transposes or of reshapes into one node, and remove nodes without effect."""

import onnx_ir as ir

from vit_export.graph.builder import find_input, read_constant, read_permutation


def merge_chains(model: ir.Model) -> int:
    """Merge Transpose(Transpose) and Reshape(Reshape), and remove nodes without effect.

    Return the number of changes. The first node of a chain stays for its other readers;
    `remove_unused` removes it if there are none.
    """
    changes = 0
    for node in model.graph:
        first = find_input(node, node.op_type)
        changes += first is not None and _merge(node, first)
        if _has_no_effect(node) and not node.outputs[0].is_graph_output() and node.inputs[0]:
            ir.convenience.replace_all_uses_with(node.outputs[0], node.inputs[0])
            model.graph.remove(node, safe=True)
            changes += 1
    return changes


def _merge(node: ir.Node, first: ir.Node) -> bool:
    if node.op_type == "Transpose":
        axes = read_permutation(first)
        permutation = [axes[axis] for axis in read_permutation(node)]
        node.attributes["perm"] = ir.AttrInt64s("perm", permutation)
    elif node.op_type != "Reshape" or _copies_axes(node):
        return False
    node.replace_input_with(0, first.inputs[0])
    return True


def _copies_axes(reshape: ir.Node) -> bool:
    """Whether the shape may have zeros, which copy an axis of the input: the input has to stay."""
    shape = read_constant(reshape.inputs[1])
    return shape is None or 0 in shape


def _has_no_effect(node: ir.Node) -> bool:
    if node.op_type == "Transpose":
        axes = read_permutation(node)
        return axes == tuple(range(len(axes))) != ()
    if node.op_type == "Reshape":
        shape = node.inputs[0].shape if node.inputs[0] is not None else None
        return shape is not None and shape == node.outputs[0].shape
    return node.op_type == "Identity"
