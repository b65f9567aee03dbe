"""Copies of a captured encoder block, one for each block that was not captured.

All blocks but the last differ only in their weights, and the exporter's time grows with the number
of nodes. So the exporter captures the first and the last block, and the first one is copied here.
"""

from collections.abc import Sequence

import onnx_ir as ir

FIRST, SECOND = "blocks.0", "blocks.1"
CAPTURED_BLOCKS = 2
"""Number of blocks in a graph that `repeat_blocks` takes."""


def repeat_blocks(model: ir.Model, depth: int) -> None:
    """Turn `model`, captured with two blocks, into one of `depth`, in place.

    The first block is copied; the second becomes the last. Nodes and weights are named after their
    block. The weights of a new block have its names, but still the values of the first block: the
    caller has to set them.

    Raises:
        ValueError: the first block has several inputs or several outputs.
    """
    graph = model.graph
    _rename_block(graph, SECOND, f"blocks.{depth - 1}")
    nodes = [node for node in graph if _is_inside(node.name, FIRST)]
    block_input, block_output = _find_input(nodes), _find_output(nodes)
    later = [use for use in block_output.uses() if use.node not in nodes]
    last, value = nodes[-1], block_output
    for number in range(1, depth - 1):
        values = {block_input: value}
        copies = _copy_nodes(graph, nodes, values, f"blocks.{number}")
        graph.insert_after(last, copies)
        last, value = copies[-1], values[block_output]
    for use in later:
        use.node.replace_input_with(use.idx, value)


def _copy_nodes(
    graph: ir.Graph, nodes: Sequence[ir.Node], values: dict[ir.Value, ir.Value], block: str
) -> list[ir.Node]:
    """Copy the nodes of the first block for `block`.

    `values` maps each value to the one that copies read in its place; it grows by their outputs.
    """
    copies = []
    for node in nodes:
        for value in node.inputs:
            if value is not None and value not in values and value.is_initializer():
                values[value] = _copy_weight(graph, value, block)
        copy = ir.Node(
            node.domain,
            node.op_type,
            [value if value is None else values.get(value, value) for value in node.inputs],
            node.attributes.values(),
            num_outputs=len(node.outputs),
            name=_move_name(node.name or "", block),
        )
        for old, new in zip(node.outputs, copy.outputs, strict=True):
            new.name, new.shape, new.type = f"{block}/{old.name}", old.shape, old.type
            values[old] = new
        copies.append(copy)
    return copies


def _copy_weight(graph: ir.Graph, value: ir.Value, block: str) -> ir.Value:
    """Return a new weight of `block` for one of the first block; other initializers are shared."""
    if not _is_inside(value.name, FIRST):
        return value
    copy = ir.Value(
        name=_move_name(value.name or "", block),
        shape=value.shape,
        type=value.type,
        const_value=value.const_value,
    )
    graph.register_initializer(copy)
    return copy


def _find_input(nodes: Sequence[ir.Node]) -> ir.Value:
    """Return the one value from outside, constants aside, that `nodes` read."""
    outputs = {value for node in nodes for value in node.outputs}
    inputs = {
        value
        for node in nodes
        for value in node.inputs
        if value is not None and value not in outputs and not value.is_initializer()
    }
    (block_input,) = inputs
    return block_input


def _find_output(nodes: Sequence[ir.Node]) -> ir.Value:
    """Return the one value of `nodes` that other nodes read."""
    outputs = [value for node in nodes for value in node.outputs]
    (block_output,) = [v for v in outputs if any(use.node not in nodes for use in v.uses())]
    return block_output


def _rename_block(graph: ir.Graph, block: str, new_name: str) -> None:
    for node in graph:
        if _is_inside(node.name, block):
            node.name = new_name + (node.name or "").removeprefix(block)
    for name, value in list(graph.initializers.items()):
        if _is_inside(name, block):
            value.name = new_name + name.removeprefix(block)


def _is_inside(name: str | None, block: str) -> bool:
    return (name or "").startswith((f"{block}.", f"{block}/"))


def _move_name(name: str, block: str) -> str:
    return block + name.removeprefix(FIRST)
