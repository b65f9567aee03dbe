"""A TorchScript file that also answers what its modules compute, for those who look for a fault.

A frozen graph has lost the modules' names, but its linear layers and norms run in the order of the
model's own.
"""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vit_export.core.errors import RequestError
from vit_export.core.numerics import Array

LAYERS = {"aten::linear", "aten::layer_norm"}
LAST_OF_BRANCH = {"attention.projection": "attention", "mlp.contract": "mlp"}
"""The layer that ends a branch of a block."""


class TorchScriptTaps:
    """A TorchScript archive with the outputs of its modules as further outputs.

    Raises:
        RequestError: its layers are not `layers`, those of the lowered model in running order.
    """

    def __init__(self, path: Path, layers: Sequence[str], threads: int | None = None) -> None:
        import torch

        if threads:
            torch.set_num_threads(threads)
        with warnings.catch_warnings():  # the deprecation is told by doctor and the README
            warnings.filterwarnings("ignore", "`torch.jit.load` is", DeprecationWarning)
            graph = torch.jit.load(str(path), "cpu").graph.copy()
        nodes = [node for node in graph.nodes() if node.kind() in LAYERS]
        if len(nodes) != len(layers):
            message = f"{path} has {len(nodes)} layers, its model {len(layers)}."
            raise RequestError(message, "export it with this version of vit-export.")
        values = _values(dict(zip(layers, nodes, strict=True)), nodes[0])
        for value in values.values():
            graph.registerOutput(value)
        graph.makeMultiOutputIntoTuple()
        graph.eraseInput(0)  # the module itself, of which a frozen graph reads nothing
        self._names = ("head", *values)
        self._run: Any = torch._C._create_function_from_graph("taps", graph)  # noqa: SLF001 no public way

    def run(self, image: Array) -> Mapping[str, Array]:
        """The outputs (rows, D) of modules for one image (C, H, W), by name."""
        import torch

        with torch.inference_mode():
            found = self._run(torch.from_numpy(image[None]))
        rows = [value.reshape(-1, value.shape[-1]).numpy() for value in found]
        return dict(zip(self._names, rows, strict=True))


def _values(layers: Mapping[str, Any], first: Any) -> dict[str, Any]:
    """By module: the value in the graph that is its output."""
    found = {"embedding": first.inputsAt(0)}
    for name, node in layers.items():
        if node.kind() == "aten::layer_norm":
            found[name] = node.output()
        for last, branch in LAST_OF_BRANCH.items():
            owner = name.removesuffix(f".{last}")
            if owner != name:
                found[f"{owner}.{branch}"] = node.output()
                if branch == "mlp":  # the sum behind it is the block's own output
                    found[owner] = _sum_behind(node)
    return found


def _sum_behind(node: Any) -> Any:
    (use,) = [use.user for use in node.output().uses() if use.user.kind() == "aten::add"]
    return use.output()
