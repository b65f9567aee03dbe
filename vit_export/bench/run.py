"""A bench from request to results: candidates, interleaved bursts, roofline, accuracy."""

import os
import platform
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from vit_export.bench import roofline
from vit_export.bench.baselines import check_baselines
from vit_export.bench.candidates import GPU
from vit_export.bench.gemm import Gemm
from vit_export.bench.interleave import Worker, time_interleaved
from vit_export.bench.launch import (
    Artifact,
    RunningCandidate,
    SkippedBaseline,
    launch_artifact,
    launch_baselines,
    read_artifacts,
)
from vit_export.bench.results import Bench, Row, compare_rounds, find_percentile
from vit_export.bench.work import Work, measure_work
from vit_export.checkpoints.rebuild import ModelSource, check_code
from vit_export.core.errors import BuildError, RequestError
from vit_export.core.progress import Progress, silent

MIN_ROUNDS = 5


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What all candidates compute at one batch size."""

    batch: int
    shape: tuple[int, ...]
    """Shape of a batch of samples: (B, C, H, W) of images."""
    gemms: Sequence[Gemm]
    """Matmuls of one transformer block, or the largest ones of a graph."""
    gflop: float
    """Arithmetic of the answers to a batch, in GFLOP."""


def run_bench(
    artifacts: Sequence[Path],
    *,
    batches: Sequence[int],
    against: Sequence[str],
    source: ModelSource,
    threads: int | None,
    rounds: int,
    trust: bool = False,
    progress: Progress = silent,
) -> Bench:
    """Measure artifacts and baselines in alternating bursts, beside the roofline of this machine.

    Args:
        artifacts: files that vit-export wrote; the first sets the model of baselines and roofline.
        batches: batch sizes.
        against: names of baselines.
        source: what the first artifact was exported from, for the baselines.
        threads: threads of each candidate; None leaves each runtime its default.
        rounds: bursts per candidate.
        trust: whether code in the artifacts may run.
        progress: opened around each stage.

    Raises:
        RequestError: an artifact that vit-export did not write, an unknown baseline, a batch size
            that an artifact does not take, or a source that is not that of the first artifact.
        MissingError: the package of a baseline is not installed.
        BuildError: a candidate failed, or was faster than the roofline allows.
        ProofError: an artifact answers another shape than its manifest says.
    """
    if rounds < MIN_ROUNDS:
        raise RequestError(f"{rounds} rounds give no interval.", f"take {MIN_ROUNDS} or more.")
    check_baselines(against)
    files = read_artifacts(artifacts, batches, trust=trust)
    _check_same_size(files)
    check_code(files[0].manifest, source.module)
    work = measure_work(files[0].path, files[0].manifest, source)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        with progress("open candidates"):
            candidates = [
                stack.enter_context(launch_artifact(file, threads, folder)) for file in files
            ]
            skipped: dict[str, str] = {}
            for baseline in launch_baselines(files[0], against, source, threads, folder):
                if isinstance(baseline, SkippedBaseline):
                    skipped[baseline.name] = baseline.reason
                else:
                    candidates.append(stack.enter_context(baseline))
        rows: list[Row] = []
        rates: dict[int, dict[str, float]] = {}
        for batch in batches:
            with progress(f"batch {batch}"):
                workload = _make_workload(files[0], batch, work)
                batch_rows, rates[batch] = _measure(
                    candidates, workload, folder=folder, threads=threads, rounds=rounds
                )
                rows += batch_rows
    return Bench(
        rows=tuple(rows),
        gflops_per_s=rates,
        flops=work.flops,
        machine=describe_machine(threads),
        skipped=skipped,
    )


def describe_machine(threads: int | None) -> dict[str, str]:
    """Return what the numbers of a bench hold for: system, processor, cores, threads."""
    return {
        "system": platform.platform(),
        "processor": _find_processor(),
        "cores": str(os.cpu_count()),
        "threads": str(threads or "default of each runtime"),
    }


def _find_processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _check_same_size(files: Sequence[Artifact]) -> None:
    """Raise RequestError unless all artifacts take samples of the same shape."""
    if len({file.manifest.signature.sample_shape for file in files}) > 1:
        raise RequestError(
            "The artifacts take images of different sizes.", "bench them one by one."
        )


def _make_workload(artifact: Artifact, batch: int, work: Work) -> Workload:
    """Return the workload of `batch` images, each of which takes `work`."""
    manifest = artifact.manifest
    return Workload(
        batch=batch,
        shape=(batch, *manifest.signature.sample_shape),
        gemms=work.scale_gemms(batch),
        gflop=batch * work.flops / roofline.GIGA,
    )


def _measure(
    candidates: Sequence[RunningCandidate],
    workload: Workload,
    *,
    folder: Path,
    threads: int | None,
    rounds: int,
) -> tuple[list[Row], dict[str, float]]:
    """Return the rows of one batch size, and the roofline in GFLOP/s by arithmetic."""
    kinds = roofline.choose_gemm_kinds(one.worker.candidate for one in candidates)
    gemms = roofline.write_gemm_candidates(workload.gemms, kinds, folder, threads)
    turns: list[tuple[Worker, Sequence[int]]]
    turns = [(one.worker, workload.shape) for one in candidates]
    with ExitStack() as stack:
        turns += [(stack.enter_context(Worker(gemm.candidate)), gemm.shape) for gemm in gemms]
        times_ms = time_interleaved(turns, rounds)
    own_ms, gemms_ms = times_ms[: len(candidates)], times_ms[len(candidates) :]
    rates = roofline.find_best_rates(gemms, [min(map(min, bursts)) for bursts in gemms_ms])
    limits_ms = {name: 1000 * workload.gflop / rate for name, rate in rates.items()}
    rows = [
        _make_row(one, bursts, batch=workload.batch, first=own_ms[0], limits_ms=limits_ms)
        for one, bursts in zip(candidates, own_ms, strict=True)
    ]
    return rows, rates


def _make_row(
    running: RunningCandidate,
    bursts: Sequence[Sequence[float]],
    *,
    batch: int,
    first: Sequence[Sequence[float]],
    limits_ms: Mapping[str, float],
) -> Row:
    worker, candidate = running.worker, running.worker.candidate
    medians_ms = [statistics.median(burst) for burst in bursts]
    calls_ms = [ms for burst in bursts for ms in burst]
    gpu = candidate.arithmetic == GPU
    share = None if gpu else limits_ms[candidate.arithmetic] / min(calls_ms)
    if share is not None and share > roofline.MAX_SHARE:
        message = f"{candidate.name} ran at {share:.2f} of the machine's limit in "
        message += f"{candidate.arithmetic}."
        raise BuildError(
            message, "report this: the bench is wrong, or the file computes less than its model."
        )
    return Row(
        name=candidate.name,
        batch=batch,
        arithmetic=candidate.arithmetic,
        version=worker.version,
        rounds_ms=tuple(medians_ms),
        p50_ms=statistics.median(calls_ms),
        p90_ms=find_percentile(calls_ms, 90),
        min_ms=min(calls_ms),
        images_per_s=1000 * batch / statistics.median(calls_ms),
        against_first=compare_rounds(medians_ms, [statistics.median(burst) for burst in first]),
        limit_share=share,
        load_ms=worker.load_ms,
        peak_bytes=worker.peak_bytes,
        size_bytes=running.size_bytes,
        worst_snr_db=running.worst_snr_db,
    )
