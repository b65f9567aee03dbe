"""Nodes written one after the other in the place of an old one."""

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from vit_export.graph.builder import initializer


class Writer:
    """Writes nodes before `place`, all named after it and so after its module."""

    def __init__(self, model: ir.Model, place: ir.Node) -> None:
        self.model = model
        self.place = place
        self._names: Counter[str] = Counter()

    def __call__(
        self,
        op_type: str,
        *inputs: ir.Value | None,
        like: ir.Value | None = None,
        dtype: ir.DataType = ir.DataType.FLOAT,
        domain: str = "",
        **attributes: Any,
    ) -> ir.Value:
        """The one output of a new node; of the shape of `like` and of `dtype` where it is given."""
        (output,) = self.several(op_type, inputs, ("out",), domain=domain, **attributes)
        if like is not None:
            output.shape, output.type = like.shape, ir.TensorType(dtype)
        return output

    def several(
        self,
        op_type: str,
        inputs: tuple[ir.Value | None, ...],
        outputs: tuple[str, ...],
        domain: str = "",
        **attributes: Any,
    ) -> tuple[ir.Value, ...]:
        """The outputs of a new node, called by these words."""
        name = self._unused(f"{self.place.name}_{op_type}")
        made = ir.node(op_type, inputs, attributes, domain=domain, num_outputs=len(outputs))
        made.name = name
        for value, word in zip(made.outputs, outputs, strict=True):
            value.name = f"{name}/{word}"
        self.model.graph.insert_before(self.place, made)
        if domain:
            self.model.opset_imports[domain] = 1
        return tuple(made.outputs)

    def constant(
        self, word: str, array: npt.ArrayLike, dtype: ir.DataType | None = None
    ) -> ir.Value:
        """An initializer called after the place; four-bit numbers come as bytes with a `dtype`."""
        name = f"{self.place.name}/{word}"
        known = self.model.graph.initializers.get(name)
        if known is not None:
            return known
        return initializer(self.model.graph, name, np.asarray(array), dtype)

    def finish(self, value: ir.Value) -> None:
        """Puts `value` in the place of the old node's output, and the old node away."""
        old = self.place.outputs[0]
        value.name, value.shape, value.type = old.name, old.shape, old.type
        ir.convenience.replace_all_uses_with(old, value, replace_graph_outputs=True)
        self.model.graph.remove(self.place, safe=True)

    def _unused(self, name: str) -> str:
        """`name`, or that with a number: one layer may have the same operator twice."""
        self._names[name] += 1
        return name if self._names[name] == 1 else f"{name}_{self._names[name]}"
