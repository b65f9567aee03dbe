"""A TorchScript file that also answers what its modules compute, so that a difference is found.

A frozen graph has lost the names of modules. Its linear layers and norms run in the same order as
those of the lowered model, and get their names from there.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vit_export.backends.records import ModuleNames
from vit_export.backends.session import FOREIGN, TAKES, RunFailedError, check_memory
from vit_export.backends.torchscript.session import load_archive
from vit_export.core.errors import RequestError
from vit_export.core.numerics import Array

LAYERS = {"aten::linear", "aten::layer_norm"}
"""The operators that are matched by their order."""
LAST_OF_BRANCH = {"attention.projection": "attention", "mlp.contract": "mlp"}
"""The branch of a block that a layer ends, by the name of the layer."""


class TorchScriptTaps:
    """A TorchScript archive with the outputs of its modules as further outputs.

    Args:
        path: the archive.
        names: the layers of the lowered model, in the order in which they run, and its outputs.
        threads: intra-op threads of PyTorch in this process; None leaves them as they are.

    Raises:
        RequestError: the archive does not have as many layers.
    """

    def __init__(self, path: Path, names: ModuleNames, threads: int | None = None) -> None:
        import torch

        if threads:
            torch.set_num_threads(threads)
        graph = load_archive(path).graph.copy()
        nodes = [node for node in graph.nodes() if node.kind() in LAYERS]
        if len(nodes) != len(names.layers):
            message = f"{path} has {len(nodes)} layers, its model {len(names.layers)}."
            raise RequestError(message, "export it with this version of vit-export.")
        try:
            layers = dict(zip(names.layers, nodes, strict=True))
            self._names, self._run = _add_outputs(graph, layers, names.outputs)
        except Exception as error:  # noqa: BLE001 LibTorch raises anything at a graph of others
            reason = str(error).partition("\n")[0]
            raise RequestError(
                f"{path} has other layers than its model: {reason}", FOREIGN
            ) from None

    def run(self, image: Array) -> Mapping[str, Array]:
        """Return the outputs (rows, D) of modules by name, for one `image` (C, H, W).

        Raises:
            RunFailedError: LibTorch refuses; the message is its own.
        """
        import torch

        try:
            with torch.inference_mode():
                outputs = self._run(torch.from_numpy(image[None]))
            rows = [value.reshape(-1, value.shape[-1]).numpy() for value in outputs]
        except Exception as error:  # noqa: BLE001 as above
            check_memory(error)
            raise RunFailedError(str(error).strip().rpartition("\n")[2], TAKES) from None
        return dict(zip(self._names, rows, strict=True))


def _add_outputs(
    graph: Any, layers: Mapping[str, Any], answers: Sequence[str]
) -> tuple[tuple[str, ...], Any]:
    """Make the values of modules outputs of `graph`; return the outputs' names, and a function.

    Its own output is called `head`, and several have the names `answers`.
    """
    import torch

    values = _values_by_module(layers, next(iter(layers.values())))
    (answer,) = graph.outputs()
    if answer.node().kind() == "prim::TupleConstruct":
        values |= dict(zip(answers, answer.node().inputs(), strict=True))
    else:
        values["head"] = answer
    graph.eraseOutput(0)
    for value in values.values():
        graph.registerOutput(value)
    graph.makeMultiOutputIntoTuple()
    graph.eraseInput(0)  # the module itself, which a frozen graph does not read
    function = torch._C._create_function_from_graph("taps", graph)  # noqa: SLF001 no public way
    return tuple(values), function


def _values_by_module(layers: Mapping[str, Any], first: Any) -> dict[str, Any]:
    """Return the value in the graph that is the output of a module, by its name.

    Args:
        layers: nodes of the graph by the name of their layer.
        first: the first of them.
    """
    values = {"embedding": first.inputsAt(0)}
    for name, node in layers.items():
        if node.kind() == "aten::layer_norm":
            values[name] = node.output()
        for last, branch in LAST_OF_BRANCH.items():
            owner = name.removesuffix(f".{last}")
            if owner != name:
                values[f"{owner}.{branch}"] = node.output()
                if branch == "mlp":  # the sum behind it is the block's own output
                    values[owner] = _find_sum(node)
    return values


def _find_sum(node: Any) -> Any:
    (addition,) = [use.user for use in node.output().uses() if use.user.kind() == "aten::add"]
    return addition.output()
