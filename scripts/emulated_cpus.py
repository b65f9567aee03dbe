"""The worst SNR of each precision on each emulated CPU.

    vit-export emulate --install
    python scripts/emulated_cpus.py int8 fp32   # rows of the Fashion-MNIST model; minutes each
    python scripts/emulated_cpus.py --dinov2    # a published DINOv2 ViT-S/14, one image at a time

It writes each cell into a table of docs/emulation.md as soon as it is measured, and leaves the
others as they are. Without names it measures all cells that are missing; named rows are measured
anew. The first column is this machine. A cell of the DINOv2 takes about 20 minutes.
"""

import sys
import tempfile
from pathlib import Path

from docs_regions import ROOT, Region

import vit_export
from vit_export.core.cpu import identify_cpu
from vit_export.validation.emulation.cpus import CPUS
from vit_export.validation.verdict import Verdict

PAGE, SCRIPT = "docs/emulation.md", "scripts/emulated_cpus.py"
CALIBRATION = {"calibration": ROOT / "models" / "fashion_mnist" / "images"}
DINOV2 = {"image_size": "224", "mean": "0.485,0.456,0.406", "std": "0.229,0.224,0.225"}
DINOV2 |= {"resize": 256, "crop": "224", "batch": "1"}
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
    of_dinov2, labels = "--dinov2" in sys.argv, [one for one in sys.argv[1:] if one != "--dinov2"]
    region = Region(PAGE, "dinov2" if of_dinov2 else "fashion", SCRIPT)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        common = DINOV2 | {"weights": fetch_dinov2(folder)} if of_dinov2 else {}
        model = None if of_dinov2 else "fashion_mnist"
        for label in labels or REQUESTS:
            vit_export.onnx(model, folder / "f.onnx", **common, **REQUESTS[label])
            measure_row(region, label, folder / "f.onnx", again=label in labels)


def measure_row(region: Region, label: str, path: Path, *, again: bool) -> None:
    """Write the cells of a row one by one, first those of this machine; keep those that exist."""
    for column in COLUMNS:
        if not again and read_cells(region).get(label, {}).get(column, MISSING) != MISSING:
            continue
        if column == HERE:
            verdict = vit_export.validate(path)
        else:
            verdict = vit_export.validate(path, on=[column]).emulated[column]
        write_cell(region, label, column, describe(verdict))


def read_cells(region: Region) -> dict[str, dict[str, str]]:
    """Return the cells of a table, by row and column; those of another machine are missing."""
    lines = [line.strip("| ").split(" | ") for line in region.read().splitlines()]
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
