"""The machine's limit: the best rate of matrix products at a model's own shapes, in this run.

It is measured in every runtime that takes part, and the best of them counts.

Whatever runs a model in fp32 has to do its products; a row faster than this rate allows would be a
mistake of the bench.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vit_export.spec import VitSpec
from vit_export.speed.contestants import Contestant

GIGA = 1e9
LAYERS = 4
"""Products in a row, with weights of their own: no less than a model keeps out of the cache."""
ROOM = 1.02
"""A row may be this much faster than the limit: rounding of a clock and of the count of FLOPs."""
IN_RUNTIME = {
    "artifact": "onnxruntime",
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "eager": "torch-products",
    "compile": "torch-products",
}
"""By kind of contestant: the kind that does nothing but products in the same runtime."""


def products_of(spec: VitSpec, batch: int) -> list[tuple[int, int, int]]:
    """(rows, columns read, columns written) of a block's four products."""
    rows, width, hidden = spec.tokens * batch, spec.width, spec.hidden
    hidden += 16 * (hidden % 1024 == 0)  # as lowering pads it (`rewrites.pad_hidden`)
    return [
        (rows, width, 3 * width),
        (rows, width, width),
        (rows, width, hidden),
        (rows, hidden, width),
    ]


@dataclass(frozen=True)
class Product:
    """A contestant that does nothing but one kind of product."""

    contestant: Contestant
    shape: tuple[int, int]
    """Of what it reads."""
    gflop: float


def runtimes_of(kinds: Iterable[str]) -> list[str]:
    """The kinds of contestants that do products, for runtimes that take part as `kinds`."""
    return list(dict.fromkeys(["onnxruntime", *(IN_RUNTIME[kind] for kind in kinds)]))


def contestants(
    spec: VitSpec, batch: int, folder: Path, threads: int | None, runtimes: Sequence[str]
) -> list[Product]:
    """One for each shape of product in each of `runtimes`."""
    made = []
    for product in dict.fromkeys(products_of(spec, batch)):
        name = f"product_{'x'.join(map(str, product))}"
        path = folder / f"{name}.onnx"
        write_products(path, product)
        rows, read, written = product
        gflop = 2 * rows * read * written * LAYERS / GIGA
        for kind in runtimes:
            contestant = Contestant(name=name, kind=kind, path=str(path), threads=threads)
            made.append(Product(contestant, (rows, read), gflop))
    return made


def write_products(path: Path, product: tuple[int, int, int]) -> None:
    """An ONNX file of `LAYERS` independent products of one input."""
    import numpy as np
    import onnx_ir as ir

    from vit_export.graph.nodes import initializer

    rows, read, written = product
    x = ir.Value(name="x", shape=ir.Shape([rows, read]), type=ir.TensorType(ir.DataType.FLOAT))
    graph = ir.Graph([x], [], nodes=[], name="products", opset_imports={"": 20})
    random = np.random.default_rng(0)
    for layer in range(LAYERS):
        weight = random.standard_normal((written, read), np.float32)
        inputs = [x, initializer(graph, f"w{layer}", weight)]
        node = ir.node("Gemm", inputs, {"transB": 1})
        node.outputs[0].name, node.outputs[0].type = f"y{layer}", x.type
        graph.append(node)
        graph.outputs.append(node.outputs[0])
    ir.save(ir.Model(graph, ir_version=10), path)
