"""The worst SNR of each precision on each emulated CPU.

    vit-export emulate --install
    python scripts/emulated_cpus.py int8 fp32   # rows of the Fashion-MNIST model; minutes each
    python scripts/emulated_cpus.py --dinov2    # a published DINOv2 ViT-S/14, one image at a time
    python scripts/emulated_cpus.py --dinov2 --on wasm,raspberry-pi-5

It writes each cell into a table of docs/emulation.md as soon as it is measured, and leaves the
others as they are. Without names it measures all cells that are missing; named rows are measured
anew. The first column is this machine. With the DINOv2 a cell takes 2 to 20 seconds, and an export
a minute.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from docs_regions import ROOT, Region

import vit_export
from vit_export.core.cpu import identify_cpu
from vit_export.validation.emulation.cpus import CPUS
from vit_export.validation.verdict import Verdict

PAGE, SCRIPT = "docs/emulation.md", "scripts/emulated_cpus.py"
CALIBRATION = {"calibration": ROOT / "models" / "fashion_mnist" / "images"}
PHOTOS = {"calibration": ROOT / "vit_export" / "data" / "photos"}
DINOV2 = {"image_size": "56", "mean": "0.485,0.456,0.406", "std": "0.229,0.224,0.225"}
DINOV2 |= {"resize": 64, "crop": "56", "batch": "1"}
"""Small images are fast, and change no sum of products: those run over the width of a layer."""
REQUESTS = {
    "fp32": {},
    "fp16": {"precision": "fp16"},
    "int8": {"precision": "int8"},
    "int8 --scales token": {"precision": "int8", "scales": "token"},
    "int8 --for onnxruntime": {"precision": "int8", "flavour": "onnxruntime"},
    "int8-static": {"precision": "int8-static", **CALIBRATION},
    "weights-int8": {"precision": "weights-int8"},
    "weights-int4": {"precision": "weights-int4", "opset": 21},
}
"""Options of an export, by the label of its row."""
HERE = identify_cpu().name
COLUMNS = (HERE, *CPUS)
MISSING = "-"
"""A cell that has not been measured."""


def main() -> None:
    parser = argparse.ArgumentParser(description="The worst SNR on each emulated CPU.")
    parser.add_argument("precision", nargs="*", help="rows to measure anew")
    parser.add_argument("--dinov2", action="store_true", help="the table of the DINOv2")
    parser.add_argument(
        "--on", default=",".join(CPUS), metavar="NAME,NAME", help="these CPUs alone"
    )
    options = parser.parse_args()
    columns = (HERE, *options.on.split(","))
    region = Region(PAGE, "dinov2" if options.dinov2 else "fashion", SCRIPT)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        common = DINOV2 | {"weights": fetch_dinov2(folder)} if options.dinov2 else {}
        model = None if options.dinov2 else "fashion_mnist"
        for label in options.precision or REQUESTS:
            missing = [one for one in columns if read_cell(region, label, one) == MISSING]
            request = common | REQUESTS[label]
            if options.dinov2 and "calibration" in request:
                request |= PHOTOS
            vit_export.onnx(model, folder / "f.onnx", **request)
            measure_cells(
                region, label, columns if options.precision else missing, folder / "f.onnx"
            )


def measure_cells(region: Region, label: str, columns: Sequence[str], path: Path) -> None:
    """Write the cells of a row one by one."""
    for column in columns:
        if column == HERE:
            verdict = vit_export.validate(path)
        else:
            verdict = vit_export.validate(path, on=[column]).emulated[column]
        write_cell(region, label, column, describe(verdict))


def read_cell(region: Region, label: str, column: str) -> str:
    return read_cells(region).get(label, {}).get(column, MISSING)


def read_cells(region: Region) -> dict[str, dict[str, str]]:
    """Return the cells of a table, by row and column; those of another machine are missing."""
    lines = [line.strip("| ").split(" | ") for line in region.read().splitlines()]
    if not lines:
        return {}
    columns = [name.strip("`") for name in lines[0][1:]]
    rows = {label.strip("`"): cells for label, *cells in lines if label.strip("`") in REQUESTS}
    known = {label: dict(zip(columns, cells, strict=True)) for label, cells in rows.items()}
    return {label: {one: known[label].get(one, MISSING) for one in COLUMNS} for label in known}


def write_cell(region: Region, label: str, column: str, text: str) -> None:
    """Write one cell of a table, whose rows are in the order of `REQUESTS`."""
    cells = read_cells(region)
    row = cells.setdefault(label, dict.fromkeys(COLUMNS, MISSING))
    row[column] = text
    lines = [
        f"| precision | {HERE} | {' | '.join(f'`{name}`' for name in CPUS)} |",
        f"| --- |{' ---: |' * len(COLUMNS)}",
        *(f"| `{one}` | {' | '.join(cells[one].values())} |" for one in REQUESTS if one in cells),
    ]
    region.write("\n".join(lines))


def fetch_dinov2(folder: Path) -> Path:
    """Download the published model and return it as a checkpoint."""
    sys.path.append(str(ROOT / "tests"))
    import onnx
    from published_dinov2 import download, write_folder

    weights = folder / "dinov2"
    weights.mkdir()
    write_folder(onnx.load(download(folder)), weights)
    return weights


def describe(verdict: Verdict) -> str:
    """Return the worst SNR in dB, and what is wrong if the file is not proven."""
    status = "" if verdict.accepted else f" {verdict.status}"
    return f"{verdict.least_snr_db:.1f}{status}"


if __name__ == "__main__":
    main()
