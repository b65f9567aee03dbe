"""An ONNX file that also answers what its modules compute, for those who look for a fault."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vit_export.core.errors import MissingError
from vit_export.core.numerics import Array
from vit_export.graph.evaluate import open_with_values


class OnnxTaps:
    """An ONNX file in ONNX Runtime, with the outputs of its modules as further outputs."""

    def __init__(self, path: Path, modules: Sequence[str], threads: int | None = None) -> None:
        try:
            import onnx
        except ImportError:
            raise MissingError(f"{path} needs onnx.", "pip install onnx onnxruntime") from None
        model = onnx.load(path, load_external_data=False)
        self._answer = model.graph.output[0].name
        self._values = _values(model.graph, modules)
        self._session = open_with_values(model, path.parent, list(self._values.values()), threads)

    def run(self, image: Array) -> Mapping[str, Array]:
        """The outputs (rows, D) of modules for one image (C, H, W), by name."""
        names = [*dict.fromkeys([*self._values.values(), self._answer])]
        (feed,) = self._session.get_inputs()
        found = dict(zip(names, self._session.run(names, {feed.name: image[None]}), strict=True))
        taps = {module: _rows(found[value]) for module, value in self._values.items()}
        return taps | {"head": _rows(found[self._answer])}


def _values(graph: Any, modules: Sequence[str]) -> dict[str, str]:
    """By module: the output of the last node that stands in it or in a part of it.

    Nodes are called after their module: `blocks.3.attention.projection/Gemm`.
    """
    scopes = [(node.name.rpartition("/")[0], node.output[0]) for node in graph.node]
    found = {}
    for module in modules:
        inside = [out for scope, out in scopes if f"{scope}.".startswith(f"{module}.")]
        if inside:
            found[module] = inside[-1]
    return found


def _rows(value: Any) -> Array:
    return np.asarray(value, np.float32).reshape(-1, value.shape[-1])
