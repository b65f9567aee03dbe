"""What an export costs: wall time and peak memory of the whole command, validation included.

    python scripts/export_costs.py            # Ti, S, B, L and H: about ten minutes, 12 GB of disk
    python scripts/export_costs.py vit_tiny_patch16_224
    python scripts/export_costs.py vit_base_patch16_224 --calibrate 128   # int8-static, 128 images

Each model gets a checkpoint of random weights in a temporary folder; then `vit-export onnx` runs on
it in its own process. Memory is the largest sum of PSS over that process and its children, read
twenty times a second. PSS divides a shared page between its owners (man 5 proc, smaps_rollup).
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

MODELS = [
    f"vit_{size}"
    for size in (
        "tiny_patch16_224",
        "small_patch16_224",
        "base_patch16_224",
        "large_patch16_224",
        "huge_patch14_224",
    )
]
PHOTOS = Path(__file__).resolve().parent.parent / "vit_export" / "data" / "photos"
CROP_SIDE = 160
"""Side in pixels of the crops of photographs that calibrate."""
COMMAND = Path(sys.executable).with_name("vit-export")
SECONDS_BETWEEN_READINGS = 0.05


def main() -> None:
    """Print one row per model, as Markdown."""
    parser = argparse.ArgumentParser(description="Wall time and peak memory of exports.")
    parser.add_argument("models", nargs="*", default=MODELS, metavar="MODEL")
    parser.add_argument("--calibrate", type=int, metavar="N", help="export int8-static on N images")
    options = parser.parse_args()
    print("| model | weights MB | wall s | peak MB | allowed MB |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for model in options.models:
        with tempfile.TemporaryDirectory() as folder:
            weights = Path(folder, "weights.safetensors")
            megabytes = write_checkpoint(model, weights)
            out = Path(folder, "vit.onnx")
            command = [COMMAND, "onnx", "--model", model, "--weights", weights, "--out", out, "-q"]
            if options.calibrate:
                images = write_images(Path(folder, "images"), options.calibrate)
                command += ["--precision", "int8-static", "--calibration", images]
            seconds, peak = watch([str(word) for word in command])
        allowed = 2.5 * megabytes + 1000
        row = f"{megabytes:.0f} | {seconds:.0f} | {peak:.0f} | {allowed:.0f}"
        print(f"| {model} | {row} |", flush=True)


def write_checkpoint(model: str, path: Path) -> float:
    """Write random weights of `model`, in a separate process; return their size in megabytes."""
    code = (
        "import sys; from safetensors.torch import save_file\n"
        "from vit_export.model.vit.presets import load_preset\n"
        "from vit_export.model.vit.state import random_vit\n"
        "save_file(random_vit(load_preset(sys.argv[1]).spec, 0).state_dict(), sys.argv[2])"
    )
    subprocess.run([sys.executable, "-c", code, model, str(path)], check=True)
    return path.stat().st_size / 1e6


def write_images(folder: Path, count: int) -> Path:
    """Write random crops of the photographs that ship, each with a random brightness."""
    folder.mkdir()
    photos = [Image.open(path).convert("RGB") for path in sorted(PHOTOS.glob("*.png"))]
    random = np.random.default_rng(0)
    for number in range(count):
        photo = photos[number % len(photos)]
        left, top = (random.integers(side - CROP_SIDE) for side in photo.size)
        crop = photo.crop((left, top, left + CROP_SIDE, top + CROP_SIDE))
        brightness = random.uniform(0.5, 1.5)
        crop.point(lambda pixel, by=brightness: pixel * by).save(folder / f"{number}.png")
    return folder


def watch(command: list[str]) -> tuple[float, float]:
    """Run `command`; return its seconds, and the peak megabytes of it and its children.

    A command that fails ends this process.
    """
    peak, started = 0.0, time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak = max(peak, sum(map(read_pss, list_descendants(process.pid))))
            time.sleep(SECONDS_BETWEEN_READINGS)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return time.perf_counter() - started, peak


def list_descendants(pid: int) -> list[int]:
    """Return `pid` and all processes below it."""
    pids = [pid]
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in read_proc(children).split():
            pids += list_descendants(int(child))
    return pids


def read_pss(pid: int) -> float:
    """Return the proportional set size of one process, in megabytes."""
    for line in read_proc(Path(f"/proc/{pid}/smaps_rollup")).splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def read_proc(path: Path) -> str:
    """Return the text of a file of /proc; it is empty if the process has just ended."""
    try:
        return path.read_text()
    except OSError:
        return ""


if __name__ == "__main__":
    main()
