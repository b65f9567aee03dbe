"""Nodes and speed of the modules of the zoo: PyTorch's own file beside ours.

    python scripts/module_speeds.py                       # all of them, an hour on two cores
    python scripts/module_speeds.py deepvit timm:swin     # those whose names contain a word
    python scripts/module_speeds.py --folder zoo          # keeps the files, and reuses PyTorch's

It prints a row as soon as it is measured. Without names it writes the table of docs/modules.md.
Both files have to answer like the module before they are timed.
"""

import argparse
import logging
import statistics
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import torch
from cpu_time import compare, open_session
from docs_regions import ROOT, Region
from torch import Tensor

import vit_export
from vit_export.core.cpu import identify_cpu
from vit_export.core.errors import VitExportError

sys.path.append(str(ROOT / "tests"))
import module_zoo

TOLERANCE = 1e-4
"""Share of the largest answer that either file may differ by."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One module: what each file has, and how much faster ours is."""

    name: str
    plain_nodes: int | None
    """None if PyTorch writes no file of any batch."""
    einsums: int
    nodes: int
    ratio: float | None
    """Median CPU time of PyTorch's file, divided by that of ours."""

    def describe(self) -> str:
        """Return the line of the table."""
        plain = "none" if self.plain_nodes is None else self.plain_nodes
        ratio = "-" if self.ratio is None else f"{self.ratio:.2f}"
        return f"| `{self.name}` | {plain} | {self.einsums or ''} | {self.nodes} | {ratio} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Nodes and speed of the modules of the zoo.")
    parser.add_argument("words", nargs="*", help="parts of names")
    parser.add_argument("--folder", type=Path, help="keeps the files here")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    names = [name for name, one in module_zoo.ZOO.items() if not one.refusal]
    chosen = [name for name in names if any(word in name for word in options.words or [""])]
    with tempfile.TemporaryDirectory() as temporary:
        rows = list(measure_all(chosen, options.folder or Path(temporary)))
    summary = summarize(rows)
    print(summary)
    if not options.words:
        lines = ["| module | PyTorch's nodes | Einsum | our nodes | times as fast |"]
        lines += ["| --- | ---: | ---: | ---: | ---: |", *(row.describe() for row in rows)]
        if len(rows) < len(chosen):
            sys.exit("some modules failed: the table is not written")
        region = Region("docs/modules.md", "speeds", "scripts/module_speeds.py")
        region.write("\n".join([*lines, "", summary]))


def measure_all(names: Sequence[str], folder: Path) -> Iterator[Row]:
    """Yield the row of each module, and print it; one that fails is said on stderr."""
    for name in names:
        place = folder / name.replace(":", "-")
        place.mkdir(parents=True, exist_ok=True)
        try:
            row = measure(name, place)
        except (VitExportError, AssertionError) as error:
            print(f"{name}: {error}", file=sys.stderr, flush=True)
            continue
        print(row.describe(), flush=True)
        yield row


def measure(name: str, folder: Path) -> Row:
    """Write both files of a module, check them, and time them."""
    module, shape = module_zoo.build(name), module_zoo.ZOO[name].shape
    images = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = module(images).numpy()
    ours, plain = folder / "ours.onnx", folder / "plain.onnx"
    write_ours(name, ours)
    check(ours, images, expected)
    counts = Counter(node.op_type for node in onnx.load(ours).graph.node)
    if not (plain.exists() or write_plain(name, plain)) or not is_right(plain, images, expected):
        return Row(name=name, plain_nodes=None, einsums=0, nodes=counts.total(), ratio=None)
    plain_counts = Counter(node.op_type for node in onnx.load(plain).graph.node)
    return Row(
        name=name,
        plain_nodes=plain_counts.total(),
        einsums=plain_counts["Einsum"],
        nodes=counts.total(),
        ratio=compare(plain, ours, images[:1].numpy()),
    )


def write_ours(name: str, path: Path) -> None:
    """Export a module as a user does."""
    vit_export.onnx(
        None,
        path,
        module=f"{module_zoo.__file__}:build",
        arguments={"name": name},
        input_shape="x".join(map(str, module_zoo.ZOO[name].shape)),
    )


def write_plain(name: str, path: Path) -> bool:
    """Return whether PyTorch's own exporter writes a file."""
    example = torch.zeros(2, *module_zoo.ZOO[name].shape)
    batch = ({0: torch.export.Dim("batch")},)
    try:
        program = torch.onnx.export(
            module_zoo.build(name), (example,), dynamo=True, dynamic_shapes=batch, verbose=False
        )
    except Exception as error:  # noqa: BLE001 the exporter fails in many ways
        print(f"{name}: {type(error).__name__}", file=sys.stderr)
        return False
    program.save(path)
    return True


def is_right(path: Path, images: Tensor, expected: np.ndarray) -> bool:
    """Return whether a file takes batches of one and three, and answers like the module."""
    try:
        check(path, images, expected)
    except Exception:  # noqa: BLE001 the runtime refuses shapes in its own ways
        return False
    return True


def check(path: Path, images: Tensor, expected: np.ndarray) -> None:
    """Raise AssertionError unless the file answers like the module, at two batch sizes."""
    session = open_session(path)
    for batch in (1, 3):
        (answer,) = session.run(None, {session.get_inputs()[0].name: images[:batch].numpy()})
        largest = float(np.abs(expected).max())
        np.testing.assert_allclose(answer, expected[:batch], rtol=0, atol=TOLERANCE * largest)


def summarize(rows: Sequence[Row]) -> str:
    """Return a sentence with the geometric means and the least ratio, versions and CPU."""
    timed = [row for row in rows if row.ratio is not None]
    if not timed:
        return "Nothing was timed."
    everything = [row.ratio or 1 for row in timed]
    einsums = [row.ratio or 1 for row in timed if row.einsums]
    slowest = min(timed, key=lambda row: row.ratio or 1)
    libraries = ("torch", "onnxruntime", "timm", "transformers", "vit-pytorch")
    versions = ", ".join(f"{name} {version(name)}" for name in libraries)
    return (
        f"Geometric mean of {len(everything)}: {statistics.geometric_mean(everything):.2f}; of the "
        f"{len(einsums)} with Einsum: {statistics.geometric_mean(einsums or [1]):.2f}; least: "
        f"{slowest.ratio:.2f} ({slowest.name}). {versions}; {identify_cpu().name}, one thread."
    )


if __name__ == "__main__":
    main()
