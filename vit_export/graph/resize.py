"""Images of any size to what the model takes, in standard operators: `vit.pixels` as a graph."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from vit_export.data.pillow_resize import (
    HALF_BITS,
    MAX_VALUE,
    SHARPNESS,
    TINY,
    WEIGHT_BITS,
    compute_normalization,
    fold_into_convolution,
)
from vit_export.data.preprocessing import Preprocessing
from vit_export.graph.builder import constant, initializer
from vit_export.graph.passes.infer_shapes import infer_shapes
from vit_export.graph.passes.remove_unused import remove_unused

SCOPE = "pixels"
INT, FLOAT, DOUBLE = np.int32, np.float32, np.float64
ZERO, ONE = np.int64(0), np.int64(1)


def take_pixels(
    model: ir.Model, steps: Preprocessing, *, columns_first: bool, normalizes: bool
) -> None:
    """Makes `model`, in place, take levels (batch, height, width, C) in uint8.

    Without `normalizes` the patch convolution has to take levels (`fold_normalization`).
    """
    graph = model.graph
    (former,) = graph.inputs
    if former.shape is None:
        raise ValueError("the graph does not say what it takes")
    batch, channels, *_ = former.shape
    image = ir.Value(
        name=former.name,
        shape=ir.Shape([batch, "height", "width", channels]),
        type=ir.TensorType(ir.DataType.UINT8),
    )
    write = _Nodes(graph)
    answer = _Pixels(write, steps).levels(image, columns_first=columns_first)
    if normalizes:
        factor, summand = (one.astype(FLOAT) for one in compute_normalization(steps))
        answer = write("Add", write("Mul", answer, factor), summand)
    answer.name, answer.shape, answer.type = f"{SCOPE}/answer", former.shape, former.type
    former.name = f"{SCOPE}/former"
    graph.insert_before(graph[0], write.nodes)
    ir.convenience.replace_all_uses_with(former, answer)
    graph.inputs[0] = image
    infer_shapes(model)


def fold_normalization(model: ir.Model, steps: Preprocessing) -> None:
    """Makes the patch convolution of `model`, which is fp32, take levels as they are, in place."""
    uses = (use.node for use in model.graph.inputs[0].uses())
    (convolution,) = (node for node in uses if node.op_type == "Conv")
    kernel, bias, *_ = (*map(constant, convolution.inputs[1:]), None)
    if kernel is None:
        raise ValueError("the patch convolution has no constant kernel")
    convolution.resize_inputs(3)
    for position, array in enumerate(fold_into_convolution(kernel, bias, steps), 1):
        name = f"{convolution.name}/of_levels_{position}"
        convolution.replace_input_with(position, initializer(model.graph, name, array))
    remove_unused(model)


def _long(value: int) -> npt.NDArray[np.int64]:
    """A vector of one, as sizes are."""
    return np.array([value], np.int64)


class _Nodes:
    """Nodes, one after the other; a constant among the inputs becomes an initializer."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self.nodes: list[ir.Node] = []
        self.constants: dict[Any, ir.Value] = {}
        self.count = 0

    def __call__(self, op_type: str, *inputs: Any, **attributes: Any) -> ir.Value:
        """The one output of a new node."""
        return self.several(op_type, inputs, 1, **attributes)[0]

    def several(
        self, op_type: str, inputs: tuple[Any, ...], outputs: int, **attributes: Any
    ) -> list[ir.Value]:
        """The outputs of a new node."""
        values = [one if isinstance(one, ir.Value) else self._constant(one) for one in inputs]
        node = ir.node(op_type, values, attributes, num_outputs=outputs)
        self.count += 1
        node.name = f"{SCOPE}/{op_type}_{self.count}"
        for i, value in enumerate(node.outputs):
            value.name = f"{node.name}/{i}"
        self.nodes.append(node)
        return list(node.outputs)

    def branch(self, answer: ir.Value, since: int) -> ir.Graph:
        """The nodes from position `since` as the branch of an If, which answers `answer`."""
        inner, self.nodes = self.nodes[since:], self.nodes[:since]
        return ir.Graph([], [answer], nodes=inner, name=f"{SCOPE}/{answer.name}")

    def _constant(self, value: Any) -> ir.Value:
        array = np.asarray(value)
        key = array.dtype, array.shape, array.tobytes()
        if key not in self.constants:
            name = f"{SCOPE}/{array.dtype}_{len(self.constants)}"
            self.constants[key] = initializer(self.graph, name, array)
        return self.constants[key]


class _Pixels:
    """Writes the arithmetic of `vit.pixels`: its words mean the same here."""

    def __init__(self, write: _Nodes, steps: Preprocessing) -> None:
        self.write = write
        self.steps = steps

    def levels(self, image: ir.Value, *, columns_first: bool) -> ir.Value:
        """Of the crop, (B, C, h, w), in fp32."""
        write = self.write
        sizes = [write("Shape", image, start=i, end=i + 1) for i in (1, 2)]
        resized = self._resized(sizes)
        rows, columns = (self._weights(*one) for one in zip(sizes, resized, (0, 1), strict=True))
        columns = write("Transpose", columns, perm=[1, 0])
        x = write("Cast", write("Transpose", image, perm=[0, 3, 1, 2]), to=ir.DataType.FLOAT)
        if not columns_first:
            return self._pass(rows, self._pass(x, columns, -1), -2)
        lost = [write("Sub", *one) for one in zip(sizes, resized, strict=True)]
        tall = write("Greater", lost[0], write("Mul", lost[1], _long(2)))
        tall = write("And", tall, write("Greater", lost[0], _long(0)))
        branches = {}
        for name, orders in (("then_branch", (0, 1)), ("else_branch", (1, 0))):
            since, y = len(write.nodes), x
            for order in orders:
                y = self._pass(y, columns, -1) if order else self._pass(rows, y, -2)
            branches[name] = write.branch(y, since)
        return write("If", write("Squeeze", tall), **branches)

    def _resized(self, sizes: list[ir.Value]) -> list[Any]:
        resize, write = self.steps.resize, self.write
        if not isinstance(resize, int):
            return [_long(side) for side in resize]
        shorter = write("Min", *sizes)
        return [write("Div", write("Mul", size, _long(resize)), shorter) for size in sizes]

    def _weights(self, size: ir.Value, resized: Any, side: int) -> ir.Value:
        write, crop = self.write, self.steps.crop[side]
        scalar = write("Squeeze", size)
        pixel = write("Range", ZERO, scalar, ONE)
        at = write("Add", self._first(resized, crop), np.arange(crop)[:, None])
        middles = (write("Add", write("Mul", one, _long(2)), _long(1)) for one in (pixel, at))
        under, middle = (write("Mul", *one) for one in zip(middles, (resized, size), strict=True))
        apart = write("Cast", write("Abs", write("Sub", under, middle)), to=ir.DataType.DOUBLE)
        coarser = write("Mul", write("Max", size, resized), _long(2))
        distance = write("Div", apart, write("Cast", coarser, to=ir.DataType.DOUBLE))
        return self._halves(self._under_filter(distance))

    def _halves(self, weight: ir.Value) -> ir.Value:
        write = self.write
        weight = write("Div", weight, write("ReduceSum", weight, _long(1)))
        weight = write("Mul", weight, DOUBLE(2**WEIGHT_BITS))
        away = write("Floor", write("Add", write("Abs", weight), DOUBLE(0.5)))
        whole = write("Mul", away, write("Sign", weight))
        cut = write("Add", write("Div", whole, DOUBLE(2**HALF_BITS)), DOUBLE(0.5))
        upper = write("Floor", cut)
        lower = write("Sub", whole, write("Mul", upper, DOUBLE(2**HALF_BITS)))
        return write("Cast", write("Concat", upper, lower, axis=0), to=ir.DataType.FLOAT)

    def _first(self, resized: Any, crop: int) -> ir.Value:
        write = self.write
        margin = write("Sub", resized, _long(crop))
        half = write("Div", margin, _long(2))
        if self.steps.centre == "floor":
            return half
        odd = (write("Mod", one, _long(2)) for one in (margin, half))
        return write("Add", half, write("Mul", *odd))

    def _under_filter(self, distance: ir.Value) -> ir.Value:
        write = self.write
        if self.steps.interpolation == "bilinear":
            return write("Max", write("Sub", DOUBLE(1), distance), DOUBLE(0))
        if self.steps.interpolation == "bicubic":
            x = write("Min", distance, DOUBLE(1))
            y = write("Clip", distance, DOUBLE(1), DOUBLE(2))
            near = self._polynomial(x, (SHARPNESS + 2, -(SHARPNESS + 3), 0, 1))
            return write("Add", near, self._polynomial(y, SHARPNESS * np.array((1, -5, 8, -4))))
        angle = write("Mul", write("Clip", distance, DOUBLE(TINY), DOUBLE(3)), DOUBLE(math.pi))
        third = write("Div", angle, DOUBLE(3))
        lobes = (write("Div", write("Sin", one), one) for one in (angle, third))
        return write("Mul", *lobes)

    def _polynomial(self, x: ir.Value, factors: Any) -> ir.Value:
        """Horner's rule, the highest power first."""
        value = self.write("Mul", x, DOUBLE(factors[0]))
        for factor in factors[1:-1]:
            value = self.write("Mul", self.write("Add", value, DOUBLE(factor)), x)
        return self.write("Add", value, DOUBLE(factors[-1]))

    def _pass(self, left: ir.Value, right: ir.Value, axis: int) -> ir.Value:
        write = self.write
        sums = write("Cast", write("MatMul", left, right), to=ir.DataType.INT32)
        upper, lower = write.several("Split", (sums,), 2, axis=axis, num_outputs=2)
        total = write("Add", write("Mul", upper, INT(2**HALF_BITS)), lower)
        total = write("Add", total, INT(2 ** (WEIGHT_BITS - 1)))
        level = write("Div", write("Max", total, INT(0)), INT(2**WEIGHT_BITS))
        return write("Cast", write("Min", level, INT(MAX_VALUE)), to=ir.DataType.FLOAT)
