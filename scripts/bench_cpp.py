"""The generated C++ beside Python's ONNX Runtime and a thirty-line program, on the same file.

python scripts/bench_cpp.py --onnxruntime-root DIR    # writes its table into docs/cpp.md

Latency in bursts, in turns, each process standing still when it is not its turn; memory as the
largest resident size of a process that classifies one image; a cold classify as the wall time of a
whole process. Models have random weights where none ship: right for speed, not for answers.
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

from bench_peers import conditions
from docs_regions import Region
from PIL import Image

from vit_export.bench.results import Ratio, ratio

MODELS = ("fashion_mnist", "einops_vit_tiny_patch16_224", "einops_vit_base_patch16_224")
PHOTO = Path(__file__).parent.parent / "vit_export" / "data" / "photos" / "cat.png"
SOURCES = Path(__file__).parent / "cpp"
VIT_EXPORT = Path(sys.executable).with_name("vit-export")
COLD_RUNS = 7
BURST_MS = 400
PYTHON = """
import sys, time
import numpy as np, onnxruntime
from vit_export.data.images import read_pixels
from vit_export.runtimes import open_artifact, read_manifest
from pathlib import Path
model, image, threads = sys.argv[1:]
steps = read_manifest(open_artifact(Path(model)), model).preprocessing
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(threads)
session = onnxruntime.InferenceSession(model, options)
feed = {"image": read_pixels(Path(image), steps)[None]}
print("ready", flush=True)
for line in sys.stdin:
    taken = []
    for _ in range(int(line)):
        start = time.perf_counter()
        session.run(None, feed)
        taken.append(1000 * (time.perf_counter() - start))
    print(*taken, flush=True)
"""


class Contestant:
    """A process that runs bursts on request, and is stopped in between."""

    def __init__(self, *command: object) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen([str(word) for word in command], text=True, **pipes)
        self.process.stdout.readline()
        self.process.send_signal(signal.SIGSTOP)

    def burst(self, calls: int) -> list[float]:
        """Milliseconds of each of `calls`, after two that are not timed."""
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(f"{calls + 2}\n")
        self.process.stdin.flush()
        times = [float(word) for word in self.process.stdout.readline().split()]
        self.process.send_signal(signal.SIGSTOP)
        return times[2:]

    def close(self) -> None:
        """Ends the process."""
        self.process.kill()
        self.process.communicate()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--onnxruntime-root", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=15)
    asked = parser.parse_args()
    columns = ("C++ takes x Python (95% interval)", "C++ ms", "MB over a plain program", "cold ms")
    lines = [f"| model | {' | '.join(columns)} |", "| --- |" + " ---: |" * len(columns)]
    for model in MODELS:
        with tempfile.TemporaryDirectory() as folder:
            lines.append(row(model, Path(folder), asked))
            print(lines[-1], flush=True)
    lines += ["", f"{asked.threads} threads; {conditions()}"]
    Region("docs/cpp.md", "cpp", "scripts/bench_cpp.py").write("\n".join(lines))


def row(model: str, folder: Path, asked: argparse.Namespace) -> str:
    """One line of the table."""
    artifact, app = folder / "vit.onnx", folder / "app"
    inside = ["--preprocess", "graph", "--head", "top5"]
    command(VIT_EXPORT, "onnx", "--model", model, *inside, "--out", artifact, "-q")
    command(VIT_EXPORT, "cpp", artifact, "--out", app, "-q")
    root = asked.onnxruntime_root.absolute()
    command("cmake", "-S", app, "-B", app / "build", f"-DONNXRUNTIME_ROOT={root}")
    command("cmake", "--build", app / "build", "--parallel")
    burst, plain = (compiled(name, app, root) for name in ("burst", "plain"))
    found, ms = latency(burst, artifact, asked)
    classify = [app / "build" / "classify", artifact, PHOTO, "--threads", asked.threads]
    with Image.open(PHOTO) as image:
        size = image.height, image.width, 1 if model == "fashion_mnist" else 3
    over = peak_mb(classify) - peak_mb([plain, artifact, *size, asked.threads])
    cold = statistics.median(wall_ms(classify) for _ in range(COLD_RUNS))
    interval = f"{found.median:.3f} ({found.low:.3f}-{found.high:.3f})"
    return f"| `{model}` | {interval} | {ms:.2f} | {over:.1f} | {cold:.0f} |"


def latency(burst: Path, artifact: Path, asked: argparse.Namespace) -> tuple[Ratio, float]:
    """C++ over Python in rounds of one run, and the milliseconds of C++."""
    mine = Contestant(burst, artifact, PHOTO, asked.threads)
    theirs = Contestant(sys.executable, "-c", PYTHON, artifact, PHOTO, asked.threads)
    try:
        calls = min(max(round(BURST_MS / min(mine.burst(3))), 3), 200)
        rounds = [(mine.burst(calls), theirs.burst(calls)) for _ in range(asked.rounds)]
    finally:
        mine.close()
        theirs.close()
    medians = [(statistics.median(one), statistics.median(other)) for one, other in rounds]
    return ratio(*zip(*medians, strict=True)), statistics.median(one for one, _ in medians)


def compiled(name: str, app: Path, root: Path) -> Path:
    out = app / name
    includes = ["-I", app, "-isystem", root / "include"]
    sources = [SOURCES / f"{name}.cpp", app / "third_party" / "stb_image.cpp"]
    libraries = ["-L", root / "lib", "-lonnxruntime", f"-Wl,-rpath,{root / 'lib'}"]
    command("g++", "-std=c++17", "-O3", *includes, *sources, *libraries, "-o", out)
    return out


def command(*words: object) -> None:
    subprocess.run([str(word) for word in words], check=True, capture_output=True)


def peak_mb(words: list[object]) -> float:
    """The largest resident size of a process, the least of three.

    Told by GNU time: what Python starts itself begins, for the system, with Python's size.
    """
    found = []
    for _ in range(3):
        timed = ["/usr/bin/time", "-f", "%M", *map(str, words)]
        done = subprocess.run(timed, capture_output=True, text=True, check=True)
        found.append(int(done.stderr.split()[-1]) / 1024)
    return min(found)


def wall_ms(words: list[object]) -> float:
    start = time.perf_counter()
    command(*words)
    return 1000 * (time.perf_counter() - start)


if __name__ == "__main__":
    main()
