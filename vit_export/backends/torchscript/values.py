"""A TorchScript file that also answers any value of its graph, whatever its model is."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vit_export.backends.session import TAKES, RunFailedError, check_memory
from vit_export.backends.torchscript.session import load_archive
from vit_export.core.numerics import Array

TENSOR = "Tensor"
"""How LibTorch writes the type of a tensor."""


class TorchScriptValues:
    """A TorchScript archive whose graph is run with other outputs.

    Args:
        path: the archive.
        names: those of the values that answer, where the archive has them; None for all.
        threads: intra-op threads of PyTorch in this process; None leaves them as they are.
    """

    def __init__(
        self, path: Path, names: Collection[str] | None = None, threads: int | None = None
    ) -> None:
        import torch

        if threads:
            torch.set_num_threads(threads)
        self._graph = load_archive(path).graph
        (answer,) = self._graph.outputs()
        is_tuple = answer.node().kind() == "prim::TupleConstruct"
        answers = answer.node().inputs() if is_tuple else (answer,)
        self.answers = tuple(one.debugName() for one in answers)
        values = _list_values(self._graph)
        self._positions = {value.debugName(): position for position, value in enumerate(values)}
        tensors = [value.debugName() for value in values if str(value.type()) == TENSOR]
        chosen = (one for one in tensors if names is None or one in names)
        self.names = (*(one for one in chosen if one not in self.answers), *self.answers)
        self._functions: dict[tuple[str, ...], Any] = {}

    def run(self, sample: Array, names: Sequence[str]) -> Mapping[str, Array]:
        """Return those of the named values that are of floating point, for one `sample`.

        Raises:
            RunFailedError: LibTorch refuses; the message is its own.
        """
        import torch

        key = tuple(names)
        function = self._functions.setdefault(key, self._make_function(key))
        try:
            with torch.inference_mode():
                answer = function(torch.from_numpy(sample[None]))
        except Exception as error:  # noqa: BLE001 LibTorch raises anything
            check_memory(error)
            raise RunFailedError(str(error).strip().rpartition("\n")[2], TAKES) from None
        values = answer if isinstance(answer, tuple) else (answer,)
        return {
            name: value.numpy().astype(np.float32)
            for name, value in zip(names, values, strict=True)
            if value.is_floating_point()
        }

    def _make_function(self, names: tuple[str, ...]) -> Any:
        """Return a function from images to the values `names` of the graph."""
        import torch

        graph = self._graph.copy()
        values = _list_values(graph)  # a copy numbers values without a name afresh
        for _ in tuple(graph.outputs()):
            graph.eraseOutput(0)
        for name in names:
            graph.registerOutput(values[self._positions[name]])
        if len(names) > 1:
            graph.makeMultiOutputIntoTuple()
        graph.eraseInput(0)  # the module itself, which a frozen graph does not read
        return torch._C._create_function_from_graph("values", graph)  # noqa: SLF001 no public way


def _list_values(graph: Any) -> list[Any]:
    """Return the values that a graph computes, in running order."""
    nodes = (node for node in graph.nodes() if node.kind() != "prim::Constant")
    return [value for node in nodes for value in node.outputs()]
