"""A program of torch.export as a module that `torch.jit.trace` follows with a free batch.

A trace keeps sizes that it gets from tensors, and makes constants of those that a program computes
in operators of its own. So sizes are written as a tracer reads them.
"""

import warnings
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

ATEN = torch.ops.aten
RESHAPES = {ATEN.view.default, ATEN._unsafe_view.default, ATEN.reshape.default}  # noqa: SLF001 its name in ATen
METHODS = {ATEN.expand.default: "expand", ATEN.repeat.default: "repeat"}
"""Operators that take sizes, to the methods of a tensor in which a tracer follows them."""
CHECKS = {ATEN._assert_tensor_metadata.default, ATEN._assert_scalar.default}  # noqa: SLF001 as above
GUARDS = "_guards_fn"
"""The module that checks the sizes of a program's input."""


class TraceableProgram(nn.Module):
    """A graph in a class of our own: the reader of TorchScript files lets none of torch in."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, images: Tensor) -> Tensor:
        answer: Tensor = self.graph(images)  # (B, …)
        return answer


def make_traceable(program: ExportedProgram) -> TraceableProgram:
    """Return a module that computes what `program` computes, without writing to any tensor."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch 2.13 warns of its own classes
        module: fx.GraphModule = program.run_decompositions({}).module()
    graph = module.graph
    (images,) = (node for node in graph.nodes if node.op == "placeholder")
    batch = str(images.meta["val"].shape[0])
    for node in list(graph.nodes):
        if node.target in CHECKS or node.target == GUARDS:
            graph.erase_node(node)
        elif node.target in RESHAPES:
            _infer_size(node)
    for node in list(graph.nodes):
        if _is_size(node) and str(node.meta["val"]) == batch and node.op == "call_function":
            with graph.inserting_after(images):
                size = graph.call_method("size", (images, 0))
            node.replace_all_uses_with(size)
    for node in graph.nodes:
        if node.target in METHODS:
            node.op, node.target = "call_method", METHODS[node.target]
    graph.eliminate_dead_code()
    module.recompile()
    return TraceableProgram(module)


def _infer_size(node: fx.Node) -> None:
    """Let a reshape infer its only free size, which no trace then has to follow."""
    sizes = [-1 if isinstance(one, torch.SymInt) else one for one in node.meta["val"].shape]
    if sizes.count(-1) == 1:
        node.op, node.target, node.args = "call_method", "reshape", (node.args[0], sizes)


def _is_size(value: Any) -> bool:
    return isinstance(value, fx.Node) and isinstance(value.meta.get("val"), torch.SymInt)
