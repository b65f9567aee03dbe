"""One captured block of a graph, repeated as often as the model has it.

All blocks but the last are alike in everything but their weights, and an exporter takes its time
for every node: so it is shown two blocks, and the graph gets the others as copies of the first.
"""

from collections.abc import Sequence

import onnx_ir as ir

FIRST, SECOND = "blocks.0", "blocks.1"
CAPTURED = 2


def repeat_block(model: ir.Model, depth: int) -> None:
    """Makes `model`, captured with two blocks, one of `depth`: the first repeated, and the last.

    Nodes and weights are called after the block they stand in. The weights of the new blocks have
    names and shapes; their values are those of the first block until they get their own.

    Raises:
        ValueError: the first block has more than one way in or out.
    """
    graph = model.graph
    _rename(graph, SECOND, f"blocks.{depth - 1}")
    nodes = [node for node in graph if _inside(node.name, FIRST)]
    entry, way_out = _entry(nodes), _way_out(nodes)
    later = [use for use in way_out.uses() if use.node not in nodes]
    last, value = nodes[-1], way_out
    for number in range(1, depth - 1):
        values = {entry: value}
        copies = _copied(graph, nodes, values, f"blocks.{number}")
        graph.insert_after(last, copies)
        last, value = copies[-1], values[way_out]
    for use in later:
        use.node.replace_input_with(use.idx, value)


def _copied(
    graph: ir.Graph, nodes: Sequence[ir.Node], values: dict[ir.Value, ir.Value], block: str
) -> list[ir.Node]:
    """Copies of the `nodes` of the first block that stand in `block`.

    `values` says what the copies read instead of what the nodes read; what they make comes to it.
    """
    copies = []
    for node in nodes:
        for value in node.inputs:
            if value is not None and value not in values and value.is_initializer():
                values[value] = _weight(graph, value, block)
        copy = ir.Node(
            node.domain,
            node.op_type,
            [value if value is None else values.get(value, value) for value in node.inputs],
            node.attributes.values(),
            num_outputs=len(node.outputs),
            name=_moved(node.name or "", block),
        )
        for old, new in zip(node.outputs, copy.outputs, strict=True):
            new.name, new.shape, new.type = f"{block}/{old.name}", old.shape, old.type
            values[old] = new
        copies.append(copy)
    return copies


def _weight(graph: ir.Graph, value: ir.Value, block: str) -> ir.Value:
    """The same weight of another block; what belongs to no block is shared."""
    if not _inside(value.name, FIRST):
        return value
    made = ir.Value(
        name=_moved(value.name or "", block),
        shape=value.shape,
        type=value.type,
        const_value=value.const_value,
    )
    graph.register_initializer(made)
    return made


def _entry(nodes: Sequence[ir.Node]) -> ir.Value:
    """The one value from outside that `nodes` read, besides constants."""
    made = {value for node in nodes for value in node.outputs}
    read = {
        value
        for node in nodes
        for value in node.inputs
        if value is not None and value not in made and not value.is_initializer()
    }
    (entry,) = read
    return entry


def _way_out(nodes: Sequence[ir.Node]) -> ir.Value:
    """The one value of `nodes` that others read."""
    made = [value for node in nodes for value in node.outputs]
    (way_out,) = [v for v in made if any(use.node not in nodes for use in v.uses())]
    return way_out


def _rename(graph: ir.Graph, block: str, other: str) -> None:
    for node in graph:
        if _inside(node.name, block):
            node.name = other + (node.name or "").removeprefix(block)
    for name, value in list(graph.initializers.items()):
        if _inside(name, block):
            value.name = other + name.removeprefix(block)


def _inside(name: str | None, block: str) -> bool:
    return (name or "").startswith((f"{block}.", f"{block}/"))


def _moved(name: str, block: str) -> str:
    return block + name.removeprefix(FIRST)
