"""Generated C++ beside ONNX Runtime in Python and a minimal C++ program, all on one file.

python scripts/bench_cpp.py --onnxruntime-root DIR    # writes its table into docs/cpp.md

Latency comes from alternating bursts; a process is suspended between its bursts. Memory is the
largest resident size of a process that classifies one image. A cold run is the wall time of a whole
process. Models without weights that ship get random ones: right for speed, not for answers.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench_tables import describe_conditions
from docs_regions import Region
from PIL import Image

from vit_export.bench.results import Ratio, compare_rounds

MODELS = ("fashion_mnist", "einops_vit_tiny_patch16_224", "einops_vit_base_patch16_224")
PHOTO = Path(__file__).parent.parent / "vit_export" / "data" / "photos" / "cat.png"
SOURCES = Path(__file__).parent / "cpp"
VIT_EXPORT = Path(sys.executable).with_name("vit-export")
COLD_RUNS = 7
MEMORY_RUNS = 3
WARMUP_CALLS = 2
BURST_MS = 400
PYTHON = """
import sys, time
import numpy as np, onnxruntime
from vit_export.data.images import read_pixels
from vit_export.backends.open import open_artifact, read_manifest
from pathlib import Path
model, image, threads = sys.argv[1:]
preprocessing = read_manifest(open_artifact(Path(model)), model).preprocessing
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(threads)
session = onnxruntime.InferenceSession(model, options)
feed = {"image": read_pixels(Path(image), preprocessing)[None]}
print("ready", flush=True)
for line in sys.stdin:
    times_ms = []
    for _ in range(int(line)):
        start = time.perf_counter()
        session.run(None, feed)
        times_ms.append(1000 * (time.perf_counter() - start))
    print(*times_ms, flush=True)
"""


class Candidate:
    """A process that runs bursts on request and is suspended in between."""

    def __init__(self, *command: object) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen([str(word) for word in command], text=True, **pipes)
        self.process.stdout.readline()
        self.process.send_signal(signal.SIGSTOP)

    def time_burst(self, calls: int) -> list[float]:
        """Return the milliseconds of each of `calls`, after a warm-up."""
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(f"{calls + WARMUP_CALLS}\n")
        self.process.stdin.flush()
        times_ms = [float(word) for word in self.process.stdout.readline().split()]
        self.process.send_signal(signal.SIGSTOP)
        return times_ms[WARMUP_CALLS:]

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--onnxruntime-root", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    columns = (
        "C++ / Python latency (95% interval)",
        "C++ ms",
        "MB above a minimal program",
        "cold ms",
    )
    lines = [f"| model | {' | '.join(columns)} |", "| --- |" + " ---: |" * len(columns)]
    for model in MODELS:
        with tempfile.TemporaryDirectory() as folder:
            lines.append(measure(model, Path(folder), options))
            print(lines[-1], flush=True)
    lines += ["", f"{options.threads} threads; {describe_conditions()}"]
    Region("docs/cpp.md", "cpp", "scripts/bench_cpp.py").write("\n".join(lines))


def measure(model: str, folder: Path, options: argparse.Namespace) -> str:
    """Build the project of `model` in `folder`, measure it, and return its row of the table."""
    artifact, app = folder / "vit.onnx", folder / "app"
    outputs = ["--preprocess", "graph", "--head", "top5"]
    call(VIT_EXPORT, "onnx", "--model", model, *outputs, "--out", artifact, "-q")
    call(VIT_EXPORT, "cpp", artifact, "--out", app, "-q")
    root = options.onnxruntime_root.absolute()
    call("cmake", "-S", app, "-B", app / "build", f"-DONNXRUNTIME_ROOT={root}")
    call("cmake", "--build", app / "build", "--parallel")
    burst, plain = (compile_program(name, app, root) for name in ("burst", "plain"))
    ratio, ms = compare_latency(burst, artifact, options)
    classify = [app / "build" / "classify", artifact, PHOTO, "--threads", options.threads]
    with Image.open(PHOTO) as image:
        size = image.height, image.width, 1 if model == "fashion_mnist" else 3
    extra_mb = measure_peak_mb(classify) - measure_peak_mb(
        [plain, artifact, *size, options.threads]
    )
    cold_ms = statistics.median(measure_wall_ms(classify) for _ in range(COLD_RUNS))
    interval = f"{ratio.median:.3f} ({ratio.low:.3f}-{ratio.high:.3f})"
    return f"| `{model}` | {interval} | {ms:.2f} | {extra_mb:.1f} | {cold_ms:.0f} |"


def compare_latency(
    burst: Path, artifact: Path, options: argparse.Namespace
) -> tuple[Ratio, float]:
    """Return the time of C++ over that of Python in one run, and the milliseconds of C++."""
    cpp = Candidate(burst, artifact, PHOTO, options.threads)
    python = Candidate(sys.executable, "-c", PYTHON, artifact, PHOTO, options.threads)
    try:
        calls = min(max(round(BURST_MS / min(cpp.time_burst(3))), 3), 200)
        rounds = [(cpp.time_burst(calls), python.time_burst(calls)) for _ in range(options.rounds)]
    finally:
        cpp.close()
        python.close()
    medians = [(statistics.median(mine), statistics.median(theirs)) for mine, theirs in rounds]
    return compare_rounds(*zip(*medians, strict=True)), statistics.median(m for m, _ in medians)


def compile_program(name: str, app: Path, root: Path) -> Path:
    """Compile a program of scripts/cpp against the headers of a project."""
    out = app / name
    includes = ["-I", app, "-isystem", root / "include"]
    sources = [SOURCES / f"{name}.cpp", app / "images" / "load.cpp", app / "images" / "stb.cpp"]
    libraries = ["-L", root / "lib", "-lonnxruntime", f"-Wl,-rpath,{root / 'lib'}"]
    call("g++", "-std=c++17", "-O3", *includes, *sources, *libraries, "-o", out)
    return out


def call(*command: object) -> None:
    subprocess.run([str(word) for word in command], check=True, capture_output=True)


def measure_peak_mb(command: list[object]) -> float:
    """Return the largest resident size of a process, the least of several runs.

    GNU time measures it, because the size of a process that Python starts begins with Python's own.
    """
    sizes_mb = []
    for _ in range(MEMORY_RUNS):
        timing = ["/usr/bin/time", "-f", "%M", *map(str, command)]
        process = subprocess.run(timing, capture_output=True, text=True, check=True)
        sizes_mb.append(int(process.stderr.split()[-1]) / 1024)
    return min(sizes_mb)


def measure_wall_ms(command: list[object]) -> float:
    start = time.perf_counter()
    call(*command)
    return 1000 * (time.perf_counter() - start)


if __name__ == "__main__":
    main()
