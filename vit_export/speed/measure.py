"""A bench from its request to its rows: contestants, turns, the machine's limit, accuracy."""

import os
import platform
import statistics
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from vit_export.compare import snr_db
from vit_export.errors import BuildError, RequestError
from vit_export.manifest import Manifest
from vit_export.progress import Progress, silent
from vit_export.runtimes import open_artifact, read_manifest
from vit_export.runtimes.base import Session
from vit_export.samples import digest, make_samples
from vit_export.spec import VitSpec
from vit_export.speed import limit
from vit_export.speed.contestants import Contestant
from vit_export.speed.peers import check_peers, peers
from vit_export.speed.rows import Bench, Row, percentile, ratio
from vit_export.speed.turns import Worker, interleaved
from vit_export.writing import data_files

LEAST_ROUNDS = 5
GIGA = 1e9


@dataclass(frozen=True)
class Known:
    """What is told of an artifact before it runs against the clock."""

    size_bytes: int
    worst_snr_db: float | None


def run_bench(
    artifacts: Sequence[Path],
    *,
    batches: Sequence[int],
    against: Sequence[str],
    threads: int | None,
    rounds: int,
    progress: Progress = silent,
) -> Bench:
    """Every artifact and peer at every batch size, in turns; the first artifact's model decides.

    Raises:
        RequestError: no artifact of ours, an unknown peer, a batch that an artifact does not take.
        MissingError: a peer's package is not installed.
        BuildError: a contestant could not run; or a row was faster than the machine.
    """
    if rounds < LEAST_ROUNDS:
        raise RequestError(f"{rounds} rounds tell no interval.", f"take {LEAST_ROUNDS} or more.")
    check_peers(against)
    with progress("accuracy"):
        spec, known = _look_at(artifacts, batches, threads)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        with progress("open contestants"):
            ours = [
                Contestant(name=path.name, kind="artifact", path=str(path), threads=threads)
                for path in artifacts
            ]
            others = peers(against, spec, Path(folder), threads)
            workers = [stack.enter_context(Worker(one)) for one in (*ours, *others)]
        found = []
        for batch in batches:
            with progress(f"batch {batch}"):
                found.append(
                    _at_batch(
                        workers,
                        spec=spec,
                        batch=batch,
                        folder=Path(folder),
                        threads=threads,
                        rounds=rounds,
                        known=known,
                    )
                )
    return Bench(
        rows=tuple(row for rows, _ in found for row in rows),
        gflops_per_s={batch: rate for batch, (_, rate) in zip(batches, found, strict=True)},
        flops=flops_of_spec(spec),
        machine=machine(threads),
    )


def machine(threads: int | None) -> dict[str, str]:
    """What the numbers hold for."""
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "threads": str(threads or "as each runtime takes"),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _look_at(
    artifacts: Sequence[Path], batches: Sequence[int], threads: int | None
) -> tuple[VitSpec, dict[str, Known]]:
    known: dict[str, Known] = {}
    specs: list[VitSpec] = []
    for path in artifacts:
        session = open_artifact(path, threads)
        manifest = read_manifest(session, path)
        for batch in batches:
            if not manifest.batch.takes(batch):
                raise RequestError(
                    f"{path} takes batch {manifest.batch}, not {batch}.", "give another --batch."
                )
        size = sum(file.stat().st_size for file in (path, *data_files(path)))
        known[str(path)] = Known(size, _worst_snr(session, manifest))
        specs.append(manifest.spec)
    if any(spec.image_size != specs[0].image_size for spec in specs):
        raise RequestError("The artifacts take images of different sizes.", "bench them apart.")
    return specs[0], known


def _worst_snr(session: Session, manifest: Manifest) -> float | None:
    """Of the manifest's samples that can be made again here, each at the least batch size."""
    reference = manifest.reference
    samples = make_samples(reference.recipes, manifest.spec, manifest.preprocessing)
    kept = [i for i, one in enumerate(samples) if digest(one) == reference.digests[i]]
    least = manifest.batch.least
    found = [snr_db(reference.answers[i], session.run(samples[[i] * least])[0]) for i in kept]
    return min(found, default=None)


def _at_batch(
    workers: Sequence[Worker],
    *,
    spec: VitSpec,
    batch: int,
    folder: Path,
    threads: int | None,
    rounds: int,
    known: dict[str, Known],
) -> tuple[list[Row], float]:
    """The rows of one batch size, and the machine's rate in GFLOP/s."""
    products = limit.contestants(spec, batch, folder, threads)
    shape = (batch, spec.channels, *spec.image_size)
    with ExitStack() as stack:
        measured = [stack.enter_context(Worker(one.contestant)) for one in products]
        turns: list[tuple[Worker, Sequence[int]]] = [(worker, shape) for worker in workers]
        turns += [(worker, one.shape) for worker, one in zip(measured, products, strict=True)]
        times = interleaved(turns, rounds)
    rate = max(
        one.gflop / min(map(min, found)) * 1000
        for one, found in zip(products, times[len(workers) :], strict=True)
    )
    first = [statistics.median(calls) for calls in times[0]]
    limit_ms = 1000 * batch * flops_of_spec(spec) / GIGA / rate
    rows = [
        _row(
            worker,
            found,
            batch=batch,
            first=first,
            limit_ms=limit_ms,
            known=known.get(worker.contestant.path),
        )
        for worker, found in zip(workers, times[: len(workers)], strict=True)
    ]
    return rows, rate


def _row(
    worker: Worker,
    times: Sequence[Sequence[float]],
    *,
    batch: int,
    first: Sequence[float],
    limit_ms: float,
    known: Known | None,
) -> Row:
    medians = [statistics.median(calls) for calls in times]
    every = [ms for calls in times for ms in calls]
    share = limit_ms / min(every)
    if share > limit.ROOM:
        message = f"{worker.contestant.name} ran at {share:.2f} of the machine's limit."
        raise BuildError(message, "report this: the bench is wrong, or the model not what it was.")
    return Row(
        name=worker.contestant.name,
        batch=batch,
        version=worker.version,
        rounds_ms=tuple(medians),
        p50_ms=statistics.median(every),
        p90_ms=percentile(every, 90),
        min_ms=min(every),
        images_per_s=1000 * batch / statistics.median(every),
        against_first=ratio(medians, first),
        limit_share=share,
        load_ms=worker.load_ms,
        peak_bytes=worker.peak_bytes,
        size_bytes=known.size_bytes if known else None,
        worst_snr_db=known.worst_snr_db if known else None,
    )


def flops_of_spec(spec: VitSpec) -> int:
    """FLOPs that the answer to one image needs: those of the lowered model's products."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from vit_export.vit.eager import Vit
    from vit_export.vit.lower import lower

    with torch.device("meta"):
        lowered = lower(Vit(spec).eval())
        image = torch.empty(1, spec.channels, *spec.image_size)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        lowered(image)
    return int(counter.get_total_flops())
