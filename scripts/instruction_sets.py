"""Accuracy of each int8 file on x86 CPUs with and without VNNI, and what exactness costs there.

    python scripts/instruction_sets.py            # the Fashion-MNIST model (some minutes)
    python scripts/instruction_sets.py --dinov2   # a published DINOv2 ViT-S/14 (half an hour)

It prints the tables of docs/precision.md. CPUs without VNNI are this one with fewer features: a
mask on CPUID (tests/cpumask.c), which needs Linux, gcc and a CPU with CPUID faulting.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "scripts")]

import vit_export  # noqa: E402 after the checkout is on the path
from vit_export.data.preprocessing import preprocess  # noqa: E402 as above
from vit_export.model.vit.presets import load_preset  # noqa: E402 as above

REQUESTS = {
    "int8": {"precision": "int8"},
    "int8 --scales token": {"precision": "int8", "scales": "token"},
    "int8-static": {"precision": "int8-static"},
    "int8 --for onnxruntime": {"precision": "int8", "flavour": "onnxruntime"},
    "int8-static --for onnxruntime": {"precision": "int8-static", "flavour": "onnxruntime"},
    "auto --min-snr 35": {"precision": "auto", "min_snr": 35},
}
"""Options of an export, by the label of its row."""
CPUS = {
    "VNNI": ("", False),
    "AVX-512": ("avx512", False),
    "AVX2": ("avx2", False),
    "AVX2, exact option": ("avx2", True),
}
"""The kept features of each column (tests/cpumask.c), and whether ONNX Runtime's option is set."""
COUNT = 200
"""Number of Fashion-MNIST images."""
ROUNDS = 20
MEASURE = """
import json, sys, time
import numpy as np, onnxruntime
from vit_export.core.int8_sums import PRECISE

def open_session(path, value):
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    options.add_session_config_entry(PRECISE, value)
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

path, inputs, out, option, rounds = sys.argv[1:]
images = np.load(inputs)
sessions = [open_session(path, value) for value in "01"]
answers = [sessions[int(option)].run(None, {"image": one[None]})[0] for one in images]
np.save(out, np.concatenate(answers).reshape(len(images), -1))
batch, times = images[:16], ([], [])
for _ in range(int(rounds) + 1):
    for session, spent in zip(sessions, times):
        start = time.perf_counter()
        session.run(None, {"image": batch})
        spent.append(time.perf_counter() - start)
plain, precise = (np.median(spent[1:]) for spent in times)
print(json.dumps(precise / plain))
"""
"""Writes the answers of a file, and prints the time with the option over that without it."""


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mask = folder / "cpumask.so"
        source = ROOT / "tests" / "cpumask.c"
        command = ["gcc", "-O1", "-shared", "-fPIC", source, "-o", mask]
        subprocess.run(command, check=True)
        make = make_dinov2 if "--dinov2" in sys.argv else make_fashion
        files, inputs = make(folder)
        expected, _ = measure(files.pop("fp32"), inputs, None, option=False)
        columns = [*CPUS, "time of the option"]
        print_row("precision", columns)
        print_row("---", ["---"] * len(columns))
        for label, path in files.items():
            print_row(f"`{label}`", measure_row(path, inputs, mask, expected))


def measure_row(path: Path, inputs: Path, mask: Path, expected: np.ndarray) -> list[str]:
    """Return the cells of one file: its SNR on each CPU, and the time of the option."""
    cells, ratio = [], 1.0
    for kept, option in CPUS.values():
        environment = {"LD_PRELOAD": str(mask), "CPUMASK": kept} if kept else None
        answers, ratio = measure(path, inputs, environment, option=option)
        cells.append(describe_snr(expected, answers))
    return [*cells, f"{ratio:.2f} x"]


def measure(
    path: Path, inputs: Path, environment: Mapping[str, str] | None, *, option: bool
) -> tuple[np.ndarray, float]:
    """Return the answers of a file in a process of its own, and the time of the option."""
    out = path.with_suffix(".npy")
    words = [path, inputs, out, int(option), ROUNDS]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})}
    command = [sys.executable, "-c", MEASURE, *map(str, words)]
    done = subprocess.run(command, env=variables, stdout=subprocess.PIPE, text=True, check=True)
    return np.load(out), json.loads(done.stdout)


def describe_snr(expected: np.ndarray, answers: np.ndarray) -> str:
    """Return the median and the worst SNR in dB, as the proof defines it."""
    signal = np.sqrt(np.square(expected - expected.mean(axis=0)).mean())
    error = np.sqrt(np.square(answers - expected).mean(axis=1))
    snr = 20 * np.log10(signal / error)
    return f"{np.median(snr):.1f} ({snr.min():.1f})"


def make_fashion(folder: Path) -> tuple[dict[str, Path], Path]:
    """Export the shipped model in each precision, and write its inputs."""
    from PIL import Image

    with np.load(ROOT / "tests" / "data" / "fashion_mnist_500.npz") as data:
        pixels = data["images"][:COUNT]
    steps = load_preset("fashion_mnist").preprocessing
    inputs = folder / "inputs.npy"
    np.save(inputs, np.stack([preprocess(Image.fromarray(one), steps) for one in pixels]))
    photos = ROOT / "models" / "fashion_mnist" / "images"
    files = {}
    for label, options in {"fp32": {}, **REQUESTS}.items():
        files[label] = folder / f"{label}.onnx"
        calibration = {"calibration": photos} if "static" in label else {}
        vit_export.onnx("fashion_mnist", files[label], **options, **calibration)
    return files, inputs


def make_dinov2(folder: Path) -> tuple[dict[str, Path], Path]:
    """Export the published model in each precision; inputs are photographs and closer views."""
    import onnx
    from published_dinov2 import download, write_folder
    from published_precisions import export, read_inputs, unpack_photos

    from vit_export.quantization.sensitivity import enlarge_quarters

    (folder / "dinov2").mkdir()
    write_folder(onnx.load(download(folder)), folder / "dinov2")
    unpack_photos(folder)
    files = {label: export(folder, label, o) for label, o in {"fp32": {}, **REQUESTS}.items()}
    photos = read_inputs(folder / "accuracy", files["fp32"])
    inputs = folder / "inputs.npy"
    np.save(inputs, np.stack([view for one in photos for view in (one, *enlarge_quarters([one]))]))
    return files, inputs


def print_row(label: str, cells: list[str]) -> None:
    """Print a row of the table as soon as it is known."""
    sys.stdout.write(f"| {' | '.join([label, *cells])} |\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
