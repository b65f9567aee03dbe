"""The worst SNR of each precision on each emulated CPU.

    vit-export emulate --install
    python scripts/emulated_cpus.py            # the Fashion-MNIST model: a quarter of an hour
    python scripts/emulated_cpus.py --dinov2   # a published DINOv2 ViT-S/14, alone: hours

It writes the tables of docs/emulation.md. The first column is this machine.
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


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        if "--dinov2" in sys.argv:
            name, model, common = "dinov2", None, DINOV2 | {"weights": fetch_dinov2(Path(folder))}
        else:
            name, model, common = "fashion", "fashion_mnist", {}
        names = list(CPUS)
        lines = [
            f"| precision | {identify_cpu().name} | {' | '.join(f'`{one}`' for one in names)} |",
            f"| --- |{' ---: |' * (len(names) + 1)}",
        ]
        for label, options in REQUESTS.items():
            path = Path(folder) / "f.onnx"
            vit_export.onnx(model, path, **common, **options)
            verdict = vit_export.validate(path, on=names)
            verdicts = [verdict.here, *(verdict.emulated[one] for one in names)]
            lines.append(f"| `{label}` | {' | '.join(map(describe, verdicts))} |")
            print(lines[-1], file=sys.stderr, flush=True)
    Region(PAGE, name, SCRIPT).write("\n".join(lines))


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
