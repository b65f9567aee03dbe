"""The machine's limit: the best rate of matrix products at a model's own shapes, in this run.

It is measured in every runtime that takes part, and the best of them counts; where int8 takes part,
of whole numbers too.

Whatever runs a model has to do its products; a row faster than the rate of its own arithmetic
allows would be a mistake of the bench.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vit_export.bench.candidates import GPU, Contestant
from vit_export.bench.gemm import LAYERS, write_products
from vit_export.model.vit.spec import VitSpec

GIGA = 1e9
ROOM = 1.02
"""A row may be this much faster than the limit: rounding of a clock and of the count of FLOPs."""
IN_RUNTIME = {
    "fp32": {
        "artifact": "onnxruntime",
        "onnxruntime": "onnxruntime",
        "openvino": "openvino",
        "eager": "torch-products",
        "compile": "torch-products",
    },
    "int8": {
        "artifact": "int8-products",
        "onnxruntime": "int8-products",
        "torchao": "torch-int8-products",
    },
}
"""By arithmetic and kind of contestant: the kind that does but products in the same runtime."""


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


def runtimes_of(entrants: Iterable[Contestant]) -> list[tuple[str, str]]:
    """Arithmetic and kind of the contestants that do products, where these take part on the CPU.

    ONNX Runtime's come first, those in fp32 in every case: an int8 row has products in fp32 too.
    """
    taking_part = list(entrants)
    first = [name for name in IN_RUNTIME if name in {"fp32", *(e.arithmetic for e in taking_part)}]
    wanted = [(name, "onnxruntime") for name in first]
    wanted += [(one.arithmetic, one.kind) for one in taking_part if one.arithmetic != GPU]
    return list(dict.fromkeys((name, IN_RUNTIME[name][kind]) for name, kind in wanted))


def contestants(
    spec: VitSpec,
    batch: int,
    folder: Path,
    threads: int | None,
    runtimes: Sequence[tuple[str, str]],
) -> list[Product]:
    """One for each shape of product in each of `runtimes`."""
    made = []
    for product in dict.fromkeys(products_of(spec, batch)):
        rows, read, written = product
        gflop = 2 * rows * read * written * LAYERS / GIGA
        for arithmetic, kind in runtimes:
            name = f"product_{arithmetic}_{'x'.join(map(str, product))}"
            path = folder / f"{name}.onnx"
            if not path.exists():
                write_products(path, product, arithmetic)
            contestant = Contestant(
                name=name, kind=kind, arithmetic=arithmetic, path=str(path), threads=threads
            )
            made.append(Product(contestant, (rows, read), gflop))
    return made


def rates(products: Sequence[Product], least_ms: Sequence[float]) -> dict[str, float]:
    """By arithmetic: GFLOP/s of the best of `products`, which took `least_ms`.

    Whoever computes in int8 computes in fp32 where that is faster, so its rate is never below.
    """
    found: dict[str, float] = {}
    for one, ms in zip(products, least_ms, strict=True):
        name = one.contestant.arithmetic
        found[name] = max(found.get(name, 0), 1000 * one.gflop / ms)
    if "int8" in found:
        found["int8"] = max(found.values())
    return found
