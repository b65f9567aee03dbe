"""The worst SNR of each precision on each emulated CPU.

    vit-export emulate --install
    python scripts/emulated_cpus.py int8 fp32   # rows of the Fashion-MNIST model; minutes each
    python scripts/emulated_cpus.py --dinov2    # a published DINOv2 ViT-S/14, one image at a time

It writes each row into a table of docs/emulation.md as soon as it is measured, and leaves the other
rows as they are. Without names it measures all. The first column is this machine.
"""

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


def main() -> None:
    of_dinov2, labels = "--dinov2" in sys.argv, [one for one in sys.argv[1:] if one != "--dinov2"]
    region = Region(PAGE, "dinov2" if of_dinov2 else "fashion", SCRIPT)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        common = DINOV2 | {"weights": fetch_dinov2(folder)} if of_dinov2 else {}
        model = None if of_dinov2 else "fashion_mnist"
        for label in labels or REQUESTS:
            vit_export.onnx(model, folder / "f.onnx", **common, **REQUESTS[label])
            verdict = vit_export.validate(folder / "f.onnx", on=list(CPUS))
            add_row(region, label, [verdict.here, *(verdict.emulated[cpu] for cpu in CPUS)])


def add_row(region: Region, label: str, verdicts: Sequence[Verdict]) -> None:
    """Write one row of a table, in the order of `REQUESTS`."""
    head = f"| precision | {identify_cpu().name} | {' | '.join(f'`{name}`' for name in CPUS)} |"
    rows = {line.split("`")[1]: line for line in region.read().splitlines() if line[:3] == "| `"}
    rows[label] = f"| `{label}` | {' | '.join(map(describe, verdicts))} |"
    ordered = [rows[one] for one in REQUESTS if one in rows]
    region.write("\n".join([head, f"| --- |{' ---: |' * len(verdicts)}", *ordered]))


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
