"""Names of a captured graph's nodes, after the modules that they come from."""

import ast
from collections import Counter

import onnx_ir as ir

NAME_SCOPES = "pkg.torch.onnx.name_scopes"
"""Metadata key of the exporter: the modules around a node, outermost first."""


def name_nodes(model: ir.Model) -> None:
    """Name each node after its module and operator, with a number where the name is taken."""
    counts: Counter[str] = Counter()
    for node in model.graph:
        scopes = ast.literal_eval(node.metadata_props.get(NAME_SCOPES, "['', '']"))
        name = "/".join(filter(None, (scopes[-2] if len(scopes) > 1 else "", node.op_type)))
        counts[name] += 1
        node.name = name if counts[name] == 1 else f"{name}_{counts[name]}"
    model.graph.name = "vit"
    model.producer_name = "vit-export"
    model.producer_version = None


def remove_notes(model: ir.Model) -> None:
    """Remove the exporter's metadata and doc strings, which contain paths of this machine."""
    graph = model.graph
    for node in graph:
        node.doc_string = None
    values = (*graph.inputs, *graph.initializers.values(), *(v for n in graph for v in n.outputs))
    for item in (model, graph, *graph, *values):
        item.metadata_props.clear()
