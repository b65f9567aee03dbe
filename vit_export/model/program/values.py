"""What the modules inside a user's code answer: values of its program, in fp32 and in fp64."""

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram

from vit_export.model.program.promote import list_inputs, promote_graph

SCOPES = "nn_module_stack"
"""Where a node of a program keeps the modules around it, outermost first: name and class."""

ANSWER = ":"
"""Begins the names of the program's own outputs, `:0`, `:1`; modules have no such names."""


class ProgramValues:
    """The outputs of the modules in a program.

    The output of a module is the last value of floating point that is computed inside it. The
    outputs of the whole program are called `ANSWER` and their number.
    """

    def __init__(self, program: ExportedProgram) -> None:
        self._nodes = _find_outputs(program)
        names = set(self._nodes.values())
        self._plain = _Recorder(program.graph_module, list_inputs(program, exact=False), names)
        self._exact = _Recorder(promote_graph(program), list_inputs(program, exact=True), names)

    def record(self, images: Tensor) -> dict[str, Tensor]:
        """Return the outputs (B, …) of modules by name, in running order, for `images` in fp32."""
        return self._name(self._plain.record(images))

    def record_exact(self, images: Tensor) -> dict[str, Tensor]:
        """Return the same in fp64, for `images` in fp64."""
        return self._name(self._exact.record(images))

    def _name(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: values[node] for name, node in self._nodes.items() if node in values}


class _Recorder(fx.Interpreter):
    """Runs a graph, and keeps copies of some values: operators may write into their inputs."""

    def __init__(
        self, graph: fx.GraphModule, stored: list[Tensor | None], names: Collection[str]
    ) -> None:
        super().__init__(graph)
        self._stored = stored
        self._names = names
        self._values: dict[str, Tensor] = {}

    def record(self, images: Tensor) -> dict[str, Tensor]:
        self._values = {}
        with torch.no_grad():
            self.run(*(images if one is None else one for one in self._stored))
        return self._values

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.name in self._names:
            self._values[n.name] = value.clone()
        return value


def _find_outputs(program: ExportedProgram) -> dict[str, str]:
    """Return the last node inside each module, by the module's name, in running order."""
    outputs: dict[str, str] = {}
    for node in program.graph.nodes:
        value = node.meta.get("val")
        if isinstance(value, Tensor) and value.is_floating_point() and node.op == "call_function":
            for key, (name, _) in node.meta.get(SCOPES, {}).items():
                if name and name != key:  # the module itself, and what torch adds, have no name
                    call = key.partition("@")[2]  # a module may be called several times
                    scope = f"{name.partition('@')[0]}@{call}" if call else name
                    outputs.pop(scope, None)
                    outputs[scope] = node.name
    answers = enumerate(program.graph_signature.user_outputs)
    return outputs | {f"{ANSWER}{number}": str(answer) for number, answer in answers}
