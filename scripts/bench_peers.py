"""How fast our files are beside what others make of the same weights: tables of docs.

    python scripts/bench_peers.py                 # latency, half an hour on a quiet machine
    python scripts/bench_peers.py --model vit_tiny_patch16_224 --batch 1 --print
    python scripts/bench_peers.py --peer timmx    # the cost of an export beside that of timmx
    python scripts/bench_peers.py --precision int8,int8-static   # what is below fp32

All contestants of a model run in one `vit-export bench`, in turns. timmx gets an environment of its
own in .timmx, several gigabytes; where it can't be installed its row says so.
"""

import argparse
import datetime as dt
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from docs_regions import Region
from export_costs import COMMAND, watched

import vit_export
from vit_export.bench.baselines import INT8_PEERS, MODULES, PEERS
from vit_export.bench.candidates import Contestant
from vit_export.bench.interleave import Worker
from vit_export.bench.results import Ratio, Row, ratio
from vit_export.bench.run import machine
from vit_export.core.packages import versions_of

ROOT = Path(__file__).resolve().parent.parent
MODELS = (
    "einops_vit_tiny_patch16_224",
    "einops_vit_base_patch16_224",
    "vit_small_patch16_224",
    "vit_base_patch16_224",
)
PRECISION_MODELS = MODELS[:2]
PHOTOS = ROOT / "vit_export" / "data" / "photos"
FLAVOURS = {"ours": "portable", "ours, `--for onnxruntime`": "onnxruntime"}
FP32_PEERS = tuple(name for name in PEERS if name not in INT8_PEERS)
VERSIONS = ("torch", "onnxruntime", "openvino", "onnxsim", "torchao")
STARTS = 7
TIMMX = ROOT / ".timmx"
TIMMX_MODEL = "vit_base_patch16_224"
TIMMX_ROUNDS = 5
TIMMX_FIRST = "timmx export onnx"


def main() -> None:
    parser = argparse.ArgumentParser(description="Our files beside what others make.")
    parser.add_argument("--model", action="append", help="may be given again")
    parser.add_argument("--batch", default="1,8")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--peer", choices=["timmx"], help="compare the cost of an export instead")
    parser.add_argument("--precision", metavar="NAME,NAME", help="compare these, at batch 1")
    parser.add_argument("--print", action="store_true", help="leave docs/benchmarks.md as it is")
    chosen = parser.parse_args()
    if chosen.peer:
        name, lines = "timmx", beside_timmx()
    elif chosen.precision:
        models, wanted = chosen.model or PRECISION_MODELS, chosen.precision.split(",")
        name, lines = "precisions", precisions(models, wanted, chosen.rounds)
    else:
        name, lines = "peers", latencies(chosen.model or MODELS, chosen.batch, chosen.rounds)
    text = "\n".join([*lines, "", conditions()]) + "\n"
    sys.stdout.write(text)
    if not chosen.print:
        Region("docs/benchmarks.md", name, "scripts/bench_peers.py").write(text)


def conditions() -> str:
    """Machine, versions and date: what the numbers hold for."""
    found = machine(None)
    versions = ", ".join(f"{name} {version}" for name, version in versions_of(VERSIONS).items())
    today = dt.datetime.now(tz=dt.UTC).date()
    return f"{found['processor']}, {found['cores']} cores, {found['system']}; {versions}; {today}."


def latencies(models: list[str] | tuple[str, ...], batch: str, rounds: int) -> list[str]:
    """A Markdown table: a row per contestant, a column per model and batch size."""
    columns: dict[str, dict[str, str]] = {}
    for model in models:
        with tempfile.TemporaryDirectory() as folder:
            files = {Path(folder, f"{number}.onnx"): name for number, name in enumerate(FLAVOURS)}
            for path, name in files.items():
                vit_export.onnx(model, path, flavour=FLAVOURS[name])
            found = vit_export.bench(
                list(files), batch=batch, against=",".join(FP32_PEERS), rounds=rounds
            )
            names = {path.name: name for path, name in files.items()}
            starts = told(started(next(iter(files)), Path(folder), model))
            for size in found.gflops_per_s:
                rows = [row for row in found.rows if row.batch == size]
                column = {names.get(row.name, row.name): cell(row) for row in rows}
                column["ours, of the machine's limit"] = f"{rows[0].limit_share:.0%}"
                column["ours, ms"] = f"{rows[0].p50_ms:.1f}"
                column["worst SNR of all rows, dB"] = f"{worst(rows):.0f}"
                column["plain file's session start, of ours"] = starts
                columns[f"`{model}`, batch {size}"] = column
                print(f"{model} batch {size}: {column}", file=sys.stderr, flush=True)
    return table("takes x ours, median (95% interval)", columns)


def precisions(models: list[str] | tuple[str, ...], wanted: list[str], rounds: int) -> list[str]:
    """A Markdown table: a row per contestant, at batch 1; three columns per model."""
    peers = [*("onnxruntime-plain", "eager"), *filter(runs_here, INT8_PEERS)]
    columns: dict[str, dict[str, str]] = {}
    for model in models:
        with tempfile.TemporaryDirectory() as folder:
            names = built(model, wanted, Path(folder))
            found = vit_export.bench(list(names), against=",".join(peers), rounds=rounds)
        told_names = {path.name: name for path, name in names.items()}
        rows = {told_names.get(row.name, row.name): row for row in found.rows}
        first = found.rows[0]
        columns |= {
            f"`{model}`, takes x the first (95% interval)": {
                **{name: cell(row) for name, row in rows.items()},
                "the first, ms": f"{first.p50_ms:.1f}",
                "the first, of the machine's limit": f"{first.limit_share:.0%}",
            },
            f"`{model}`, worst SNR, dB": {name: decibels(row) for name, row in rows.items()},
            f"`{model}`, file MB": {name: megabytes(row) for name, row in rows.items()},
        }
    return table("batch 1", columns)


def runs_here(peer: str) -> bool:
    return bool(versions_of([MODULES.get(peer, "onnxruntime")]))


def built(model: str, wanted: list[str], folder: Path) -> dict[Path, str]:
    """Our files of `model` at every precision, with what they are called; the first comes first."""
    photos = folder / "calibration"
    photos.mkdir()
    for photo in PHOTOS.glob("*.png"):
        shutil.copy(photo, photos)
    names = {}
    for number, precision in enumerate(sorted(wanted, key=lambda name: name != "int8")):
        for words, flavour in reversed(FLAVOURS.items()):
            path = folder / f"{number}-{flavour}.onnx"
            options = {"calibration": photos} if precision == "int8-static" else {}
            vit_export.onnx(model, path, precision=precision, flavour=flavour, **options)
            names[path] = words.replace("ours", f"ours, {precision}")
    return names


def decibels(row: Row) -> str:
    return "-" if row.worst_snr_db is None else f"{row.worst_snr_db:.1f}"


def megabytes(row: Row) -> str:
    return "-" if row.size_bytes is None else f"{row.size_bytes / 1e6:.1f}"


def cell(row: Row) -> str:
    return told(row.against_first)


def told(found: Ratio) -> str:
    return f"{found.median:.2f} ({found.low:.2f}-{found.high:.2f})"


def worst(rows: list[Row]) -> float:
    """Signal-to-noise of the contestant whose answers are farthest from eager PyTorch's."""
    return min(row.worst_snr_db for row in rows if row.worst_snr_db is not None)


def started(ours: Path, folder: Path, model: str) -> Ratio:
    """How long a session on the plain export takes to start, over one on `ours`, in turns."""
    from vit_export.graph.capture import export_plainly
    from vit_export.model.vit.presets import load_preset
    from vit_export.model.vit.state import random_vit

    spec, plain = load_preset(model).spec, folder / "plain.onnx"
    export_plainly(random_vit(spec, 0), (spec.channels, *spec.image_size), plain)
    times: dict[Path, list[float]] = {ours: [], plain: []}
    for _ in range(STARTS):
        for path, found in times.items():
            with Worker(Contestant(name=path.name, kind="onnxruntime", path=str(path))) as worker:
                found.append(worker.load_ms)
    return ratio(times[plain], times[ours])


def table(corner: str, columns: dict[str, dict[str, str]]) -> list[str]:
    names = dict.fromkeys(name for column in columns.values() for name in column)
    return [
        f"| {corner} | {' | '.join(columns)} |",
        f"| --- |{' ---: |' * len(columns)}",
        *(
            f"| {name} | {' | '.join(column.get(name, '-') for column in columns.values())} |"
            for name in names
        ),
    ]


def beside_timmx() -> list[str]:
    """Wall time and peak memory of both whole commands, in turns."""
    head = [
        "| whole command, ViT-B/16 | wall s | peak MB | of timmx's wall | of its peak |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    if not installed():
        return [*head, "| timmx | can't be installed here | - | - | - |"]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        theirs = [TIMMX / "bin" / "timmx", "export", "onnx", TIMMX_MODEL, "--dynamic-batch"]
        theirs += ["--batch-size", "2", "--output", out / "theirs.onnx"]
        ours = [COMMAND, "onnx", "--model", TIMMX_MODEL, "--out", out / "ours.onnx", "--quiet"]
        requests = {TIMMX_FIRST: theirs, "vit-export onnx": ours}
        costs: dict[str, list[tuple[float, float]]] = {name: [] for name in requests}
        for _ in range(TIMMX_ROUNDS):
            for name, request in requests.items():
                (out / "theirs.onnx").unlink(missing_ok=True)
                costs[name].append(watched([str(part) for part in request]))
                print(name, *costs[name][-1], file=sys.stderr, flush=True)
    return [*head, *(cost_row(name, costs) for name in requests)]


def installed() -> bool:
    """Whether timmx is in its environment, which is made where it is not there."""
    if not (TIMMX / "bin" / "timmx").exists():
        subprocess.run([sys.executable, "-m", "venv", TIMMX], check=True)
        pip = [TIMMX / "bin" / "python", "-m", "pip", "install", "--quiet"]
        done = subprocess.run([*pip, "timmx[onnx]", "onnxruntime"], check=False)
        return done.returncode == 0
    return True


def cost_row(name: str, costs: dict[str, list[tuple[float, float]]]) -> str:
    mine, theirs = zip(*costs[name], strict=True), zip(*costs[TIMMX_FIRST], strict=True)
    (walls, peaks), (their_walls, their_peaks) = mine, theirs
    numbers = f"{statistics.median(walls):.1f} | {statistics.median(peaks):.0f}"
    ratios = told(ratio(walls, their_walls)), told(ratio(peaks, their_peaks))
    return f"| {name} | {numbers} | {' | '.join(ratios)} |"


if __name__ == "__main__":
    main()
