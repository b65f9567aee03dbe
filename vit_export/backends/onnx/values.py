"""An ONNX file that also answers any value of its graph, whatever its model is."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vit_export.backends.onnx.further_outputs import read_for_outputs
from vit_export.backends.onnx.session import run_session
from vit_export.core.numerics import Array
from vit_export.graph.evaluate import open_with_values


class OnnxValues:
    """An ONNX file in ONNX Runtime with values of its graph as further outputs.

    Args:
        path: the file.
        names: those of the values that answer, where the file has them; None for all. A further
            output keeps ONNX Runtime from fusing the nodes around it.
        threads: threads of the session; None for ONNX Runtime's default.

    Raises:
        MissingError: the package onnx is not installed.
        RequestError: ONNX Runtime does not open it.
    """

    def __init__(
        self, path: Path, names: Collection[str] | None = None, threads: int | None = None
    ) -> None:
        with read_for_outputs(path) as model:
            self.answers = tuple(one.name for one in model.graph.output)
            computed = _list_computed(model.graph)
            values = [one for one in computed if names is None or one in names]
            self._session = open_with_values(model, path.parent, values, threads)
        self.names = (*(name for name in values if name not in self.answers), *self.answers)

    def run(self, sample: Array, names: Sequence[str]) -> Mapping[str, Array]:
        """Return those of the named values that are of floating point, for one `sample`.

        Raises:
            RunFailedError: ONNX Runtime refuses; the message is its own.
        """
        (feed,) = self._session.get_inputs()
        values = run_session(self._session, names, {feed.name: sample[None]})
        return {
            name: np.asarray(value, np.float32)
            for name, value in zip(names, values, strict=True)
            if isinstance(value, np.ndarray) and np.issubdtype(value.dtype, np.floating)
        }


def _list_computed(graph: Any) -> list[str]:
    """Return the values that depend on the input: ONNX Runtime folds the others."""
    computed = dict.fromkeys(one.name for one in graph.input)
    inputs = set(computed)
    for node in graph.node:
        if any(name in computed for name in node.input):
            computed |= dict.fromkeys(name for name in node.output if name)
    return [name for name in computed if name not in inputs]
