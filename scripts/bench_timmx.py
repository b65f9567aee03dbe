"""The cost of an export beside that of timmx: writes a table of docs/benchmarks.md.

    python scripts/bench_timmx.py
    python scripts/bench_timmx.py --print

timmx gets its own environment in .timmx, which takes several gigabytes. If it can't be installed,
its row says so.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from bench_tables import describe_conditions, format_ratio
from docs_regions import ROOT, Region
from export_costs import COMMAND, watch

from vit_export.bench.results import compare_rounds

TIMMX = ROOT / ".timmx"
MODEL = "vit_base_patch16_224"
ROUNDS = 5
FIRST = "timmx export onnx"
HEAD = [
    "| whole command, ViT-B/16 | wall s | peak MB | wall / timmx's | peak / timmx's |",
    "| --- | ---: | ---: | ---: | ---: |",
]


def main() -> None:
    parser = argparse.ArgumentParser(description="The cost of an export beside that of timmx.")
    parser.add_argument("--print", action="store_true", help="leave docs/benchmarks.md as it is")
    options = parser.parse_args()
    text = "\n".join([*HEAD, *compare_costs(), "", describe_conditions()]) + "\n"
    sys.stdout.write(text)
    if not options.print:
        Region("docs/benchmarks.md", "timmx", "scripts/bench_timmx.py").write(text)


def compare_costs() -> list[str]:
    """Return a row per command, from alternating runs: wall time and peak memory."""
    if not install_timmx():
        return ["| timmx | can't be installed here | - | - | - |"]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        theirs = [TIMMX / "bin" / "timmx", "export", "onnx", MODEL, "--dynamic-batch"]
        theirs += ["--batch-size", "2", "--output", out / "theirs.onnx"]
        ours = [COMMAND, "onnx", "--model", MODEL, "--out", out / "ours.onnx", "--quiet"]
        commands = {FIRST: theirs, "vit-export onnx": ours}
        costs: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for _ in range(ROUNDS):
            for name, command in commands.items():
                (out / "theirs.onnx").unlink(missing_ok=True)
                costs[name].append(watch([str(word) for word in command]))
                print(name, *costs[name][-1], file=sys.stderr, flush=True)
    return [format_costs(name, costs) for name in commands]


def install_timmx() -> bool:
    """Create the environment of timmx unless it is there; return whether timmx is installed."""
    if not (TIMMX / "bin" / "timmx").exists():
        subprocess.run([sys.executable, "-m", "venv", TIMMX], check=True)
        pip = [TIMMX / "bin" / "python", "-m", "pip", "install", "--quiet"]
        process = subprocess.run([*pip, "timmx[onnx]", "onnxruntime"], check=False)
        return process.returncode == 0
    return True


def format_costs(name: str, costs: dict[str, list[tuple[float, float]]]) -> str:
    seconds, megabytes = zip(*costs[name], strict=True)
    first_seconds, first_megabytes = zip(*costs[FIRST], strict=True)
    medians = f"{statistics.median(seconds):.1f} | {statistics.median(megabytes):.0f}"
    wall = format_ratio(compare_rounds(seconds, first_seconds))
    peak = format_ratio(compare_rounds(megabytes, first_megabytes))
    return f"| {name} | {medians} | {wall} | {peak} |"


if __name__ == "__main__":
    main()
