"""An ONNX file that also answers what its modules compute, to find the first one that differs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vit_export.backends.onnx.further_outputs import read_for_outputs
from vit_export.backends.onnx.session import run_session
from vit_export.backends.session import FOREIGN
from vit_export.core.errors import RequestError
from vit_export.core.numerics import Array
from vit_export.graph.evaluate import open_with_values


class OnnxTaps:
    """An ONNX file in ONNX Runtime with the outputs of `modules` as further outputs.

    Raises:
        MissingError: the package onnx is not installed.
    """

    def __init__(self, path: Path, modules: Sequence[str], threads: int | None = None) -> None:
        with read_for_outputs(path) as model:
            answers = [one.name for one in model.graph.output]
            self._answers = {"head": answers[0]} if len(answers) == 1 else {n: n for n in answers}
            self._values = _values_by_module(model.graph, modules)
            values = list(self._values.values())
            self._session = open_with_values(model, path.parent, values, threads)

    def run(self, image: Array) -> Mapping[str, Array]:
        """Return the outputs (rows, D) of modules by name, for one `image` (C, H, W).

        The outputs of the file come last: one is called `head`, several have their own names.

        Raises:
            RunFailedError: ONNX Runtime refuses; the message is its own.
            RequestError: a module answers something else than rows.
        """
        named = self._values | self._answers
        names = [*dict.fromkeys(named.values())]
        (feed,) = self._session.get_inputs()
        values = run_session(self._session, names, {feed.name: image[None]})
        outputs = dict(zip(names, values, strict=True))
        return {module: _rows(outputs[value]) for module, value in named.items()}


def _values_by_module(graph: Any, modules: Sequence[str]) -> dict[str, str]:
    """Return, by module, the name of the output of the last node inside it.

    Nodes are called after their module: `blocks.3.attention.projection/Gemm`.
    """
    scopes = [(node.name.rpartition("/")[0], node.output[0]) for node in graph.node]
    values = {}
    for module in modules:
        inside = [out for scope, out in scopes if f"{scope}.".startswith(f"{module}.")]
        if inside:
            values[module] = inside[-1]
    return values


def _rows(value: Any) -> Array:
    if not np.ndim(value):
        raise RequestError("A module of the file answers a single number.", FOREIGN)
    return np.asarray(value, np.float32).reshape(-1, value.shape[-1])
