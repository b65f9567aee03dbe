"""Exported files beside baselines with the same weights: writes tables of docs/benchmarks.md.

    python scripts/bench_baselines.py                 # latency in fp32, half an hour
    python scripts/bench_baselines.py --model vit_tiny_patch16_224 --batch 1 --print
    python scripts/bench_baselines.py --precision int8,int8-static   # precisions below fp32

It needs a quiet machine. All candidates of a model run interleaved, in one `vit-export bench`.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from bench_tables import describe_conditions, format_ratio, format_table
from docs_regions import ROOT, Region

import vit_export
from vit_export.bench.baselines import BASELINES, EAGER_BASELINES, INT8_BASELINES
from vit_export.bench.candidates import Candidate
from vit_export.bench.interleave import Worker
from vit_export.bench.results import Ratio, Row, compare_rounds
from vit_export.core.packages import find_versions

MODELS = (
    "einops_vit_tiny_patch16_224",
    "einops_vit_base_patch16_224",
    "vit_small_patch16_224",
    "vit_base_patch16_224",
)
PRECISION_MODELS = MODELS[:2]
PHOTOS = ROOT / "vit_export" / "data" / "photos"
FLAVOURS = {"vit-export": "portable", "vit-export, `--for onnxruntime`": "onnxruntime"}
"""The value of `--for`, by the name of the row."""
FP32_BASELINES = tuple(name for name in BASELINES if name not in INT8_BASELINES)
STARTS = 7
"""Number of session starts whose median is compared."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Exported files beside baselines.")
    parser.add_argument("--model", action="append", help="a preset; may be repeated")
    parser.add_argument("--batch", default="1,8")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--precision", metavar="NAME,NAME", help="compare these, at batch 1")
    parser.add_argument("--print", action="store_true", help="leave docs/benchmarks.md as it is")
    options = parser.parse_args()
    if options.precision:
        models, names = options.model or PRECISION_MODELS, options.precision.split(",")
        region, lines = "precisions", compare_precisions(models, names, options.rounds)
    else:
        models = options.model or MODELS
        region, lines = "baselines", compare_latencies(models, options.batch, options.rounds)
    text = "\n".join([*lines, "", describe_conditions()]) + "\n"
    sys.stdout.write(text)
    if not options.print:
        Region("docs/benchmarks.md", region, "scripts/bench_baselines.py").write(text)


def compare_latencies(models: list[str] | tuple[str, ...], batch: str, rounds: int) -> list[str]:
    """Return a table with a row per candidate, and a column per model and batch size."""
    columns: dict[str, dict[str, str]] = {}
    for model in models:
        with tempfile.TemporaryDirectory() as folder:
            files = {Path(folder, f"{number}.onnx"): name for number, name in enumerate(FLAVOURS)}
            for path, name in files.items():
                vit_export.onnx(model, path, flavour=FLAVOURS[name])
            bench = vit_export.bench(
                list(files), batch=batch, against=",".join(FP32_BASELINES), rounds=rounds
            )
            names = {path.name: name for path, name in files.items()}
            starts = format_ratio(compare_starts(next(iter(files)), Path(folder), model))
            for size in bench.gflops_per_s:
                rows = [row for row in bench.rows if row.batch == size]
                column = {names.get(row.name, row.name): format_time(row) for row in rows}
                column["vit-export, share of the machine's limit"] = f"{rows[0].limit_share:.0%}"
                column["vit-export, ms"] = f"{rows[0].p50_ms:.1f}"
                column["worst SNR of all rows, dB"] = f"{find_least_snr_db(rows):.0f}"
                column["session start, plain file / vit-export's"] = starts
                columns[f"`{model}`, batch {size}"] = column
                print(f"{model} batch {size}: {column}", file=sys.stderr, flush=True)
    return format_table("latency / vit-export's, median (95% interval)", columns)


def compare_precisions(
    models: list[str] | tuple[str, ...], precisions: list[str], rounds: int
) -> list[str]:
    """Return a table with a row per candidate and three columns per model, at batch 1."""
    against = ["onnxruntime-plain", "eager", *filter(is_installed, INT8_BASELINES)]
    columns: dict[str, dict[str, str]] = {}
    for model in models:
        with tempfile.TemporaryDirectory() as folder:
            files = export_precisions(model, precisions, Path(folder))
            bench = vit_export.bench(list(files), against=",".join(against), rounds=rounds)
        names = {path.name: name for path, name in files.items()}
        rows = {names.get(row.name, row.name): row for row in bench.rows}
        first = bench.rows[0]
        columns |= {
            f"`{model}`, latency / the first (95% interval)": {
                **{name: format_time(row) for name, row in rows.items()},
                "the first, ms": f"{first.p50_ms:.1f}",
                "the first, share of the machine's limit": f"{first.limit_share:.0%}",
            },
            f"`{model}`, worst SNR, dB": {name: format_snr(row) for name, row in rows.items()},
            f"`{model}`, file MB": {name: format_size(row) for name, row in rows.items()},
        }
    return format_table("batch 1", columns)


def is_installed(baseline: str) -> bool:
    return bool(find_versions([EAGER_BASELINES.get(baseline, "onnxruntime")]))


def export_precisions(model: str, precisions: list[str], folder: Path) -> dict[Path, str]:
    """Export `model` in every precision and flavour, int8 first; return the row name by file."""
    photos = folder / "calibration"
    photos.mkdir()
    for photo in PHOTOS.glob("*.png"):
        shutil.copy(photo, photos)
    files = {}
    for number, precision in enumerate(sorted(precisions, key=lambda name: name != "int8")):
        for name, flavour in reversed(FLAVOURS.items()):
            path = folder / f"{number}-{flavour}.onnx"
            options = {"calibration": photos} if precision == "int8-static" else {}
            vit_export.onnx(model, path, precision=precision, flavour=flavour, **options)
            files[path] = name.replace("vit-export", f"vit-export, {precision}")
    return files


def compare_starts(exported: Path, folder: Path, model: str) -> Ratio:
    """Return the session start of the plain export over that of the `exported` file."""
    from vit_export.graph.capture import export_plainly
    from vit_export.model.vit.presets import load_preset
    from vit_export.model.vit.state import random_vit

    spec, plain = load_preset(model).spec, folder / "plain.onnx"
    export_plainly(random_vit(spec, 0), spec.signature.image_shape, plain)
    times_ms: dict[Path, list[float]] = {exported: [], plain: []}
    for _ in range(STARTS):
        for path, starts in times_ms.items():
            with Worker(Candidate(name=path.name, kind="onnxruntime", path=str(path))) as worker:
                starts.append(worker.load_ms)
    return compare_rounds(times_ms[plain], times_ms[exported])


def find_least_snr_db(rows: list[Row]) -> float:
    """Return the signal-to-noise ratio of the row that is farthest from eager PyTorch."""
    return min(row.worst_snr_db for row in rows if row.worst_snr_db is not None)


def format_time(row: Row) -> str:
    return format_ratio(row.against_first)


def format_snr(row: Row) -> str:
    return "-" if row.worst_snr_db is None else f"{row.worst_snr_db:.1f}"


def format_size(row: Row) -> str:
    return "-" if row.size_bytes is None else f"{row.size_bytes / 1e6:.1f}"


if __name__ == "__main__":
    main()
