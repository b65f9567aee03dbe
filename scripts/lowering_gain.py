"""What lowering by hand buys beside the general way: nodes, export time and speed of two ViTs.

    python scripts/lowering_gain.py

A module in memory is recognized as a known family and lowered by hand; the same module by its code
goes the general way. The table goes to docs/modules.md.
"""

import logging
import sys
import tempfile
import time
import warnings
from pathlib import Path

import onnx
import torch
from cpu_time import compare
from docs_regions import ROOT, Region

import vit_export

sys.path.append(str(ROOT / "tests"))
import module_zoo

NAMES = ("seed:ViT", "timm:vit_small_patch16_224")
PRECISIONS = ("fp32", "int8")


def main() -> None:
    """Write the table."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    lines = [
        "| model | precision | nodes: by hand | general | export: by hand | general | speed |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for name in NAMES:
            for precision in PRECISIONS:
                lines.append(measure(name, precision, Path(folder)))
                print(lines[-1], flush=True)
    Region("docs/modules.md", "lowering", "scripts/lowering_gain.py").write("\n".join(lines))


def measure(name: str, precision: str, folder: Path) -> str:
    """Return the row of one model at one precision."""
    by_hand, general = folder / "hand.onnx", folder / "general.onnx"
    module, shape = module_zoo.build(name), module_zoo.ZOO[name].shape
    started = time.perf_counter()
    vit_export.onnx(module, by_hand, precision=precision)
    between = time.perf_counter()
    vit_export.onnx(
        None,
        general,
        module=f"{module_zoo.__file__}:build",
        arguments={"name": name},
        input_shape="x".join(map(str, shape)),
        precision=precision,
    )
    ended = time.perf_counter()
    nodes = [len(onnx.load(path).graph.node) for path in (by_hand, general)]
    image = torch.randn(1, *shape, generator=torch.Generator().manual_seed(1)).numpy()
    return (
        f"| `{name}` | {precision} | {nodes[0]} | {nodes[1]} | {between - started:.0f} s | "
        f"{ended - between:.0f} s | {compare(by_hand, general, image):.2f} |"
    )


if __name__ == "__main__":
    main()
