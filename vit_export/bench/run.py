"""A bench from its request to its rows: contestants, turns, the machine's limit, accuracy."""

import os
import platform
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from vit_export.bench import roofline as limit
from vit_export.bench.baselines import check_peers
from vit_export.bench.candidates import GPU
from vit_export.bench.entrants import Entrant, entrant, look_at, peer_entrants
from vit_export.bench.interleave import Worker, interleaved
from vit_export.bench.results import Bench, Row, percentile, ratio
from vit_export.core.errors import BuildError, RequestError
from vit_export.core.progress import Progress, silent
from vit_export.model.vit.spec import VitSpec

LEAST_ROUNDS = 5
GIGA = 1e9


def run_bench(
    artifacts: Sequence[Path],
    *,
    batches: Sequence[int],
    against: Sequence[str],
    weights: Path | None,
    threads: int | None,
    rounds: int,
    progress: Progress = silent,
) -> Bench:
    """Every artifact and peer at every batch size, in turns; the first artifact's model decides.

    Raises:
        RequestError: no artifact of ours, an unknown peer, a batch that an artifact does not take,
            or weights that are not the first artifact's.
        MissingError: a peer's package is not installed.
        BuildError: a contestant could not run; or a row was faster than the machine.
    """
    if rounds < LEAST_ROUNDS:
        raise RequestError(f"{rounds} rounds tell no interval.", f"take {LEAST_ROUNDS} or more.")
    check_peers(against)
    known = [look_at(path, batches) for path in artifacts]
    spec = known[0].manifest.require_spec()
    if any(one.manifest.signature.image_size != spec.image_size for one in known):
        raise RequestError("The artifacts take images of different sizes.", "bench them apart.")
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        with progress("open contestants"):
            entrants = [stack.enter_context(entrant(one, threads, folder)) for one in known]
            others = peer_entrants(known[0], against, weights, threads, folder)
            entrants += [stack.enter_context(one) for one in others]
        found = []
        for batch in batches:
            with progress(f"batch {batch}"):
                found.append(
                    _at_batch(
                        entrants,
                        spec=spec,
                        batch=batch,
                        folder=folder,
                        threads=threads,
                        rounds=rounds,
                    )
                )
    return Bench(
        rows=tuple(row for rows, _ in found for row in rows),
        gflops_per_s={batch: rates for batch, (_, rates) in zip(batches, found, strict=True)},
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


def _at_batch(
    entrants: Sequence[Entrant],
    *,
    spec: VitSpec,
    batch: int,
    folder: Path,
    threads: int | None,
    rounds: int,
) -> tuple[list[Row], dict[str, float]]:
    """The rows of one batch size, and the machine's rate in GFLOP/s by arithmetic."""
    runtimes = limit.runtimes_of(one.worker.contestant for one in entrants)
    products = limit.contestants(spec, batch, folder, threads, runtimes)
    shape = (batch, spec.channels, *spec.image_size)
    with ExitStack() as stack:
        measured = [stack.enter_context(Worker(one.contestant)) for one in products]
        turns: list[tuple[Worker, Sequence[int]]] = [(one.worker, shape) for one in entrants]
        turns += [(worker, one.shape) for worker, one in zip(measured, products, strict=True)]
        times = interleaved(turns, rounds)
    rates = limit.rates(products, [min(map(min, found)) for found in times[len(entrants) :]])
    first = [statistics.median(calls) for calls in times[0]]
    gflop = batch * flops_of_spec(spec) / GIGA
    limits_ms = {arithmetic: 1000 * gflop / rate for arithmetic, rate in rates.items()}
    rows = [
        _row(entrant, found, batch=batch, first=first, limits_ms=limits_ms)
        for entrant, found in zip(entrants, times[: len(entrants)], strict=True)
    ]
    return rows, rates


def _row(
    entrant: Entrant,
    times: Sequence[Sequence[float]],
    *,
    batch: int,
    first: Sequence[float],
    limits_ms: Mapping[str, float],
) -> Row:
    worker = entrant.worker
    arithmetic = worker.contestant.arithmetic
    medians = [statistics.median(calls) for calls in times]
    every = [ms for calls in times for ms in calls]
    share = limits_ms[arithmetic] / min(every) if arithmetic != GPU else None
    if share is not None and share > limit.ROOM:
        name = worker.contestant.name
        message = f"{name} ran at {share:.2f} of the machine's limit in {arithmetic}."
        raise BuildError(message, "report this: the bench is wrong, or the model not what it was.")
    return Row(
        name=worker.contestant.name,
        batch=batch,
        arithmetic=arithmetic,
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
        size_bytes=entrant.size_bytes,
        worst_snr_db=entrant.worst_snr_db,
    )


def flops_of_spec(spec: VitSpec) -> int:
    """FLOPs that the answer to one image needs: those of the lowered model's products."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from vit_export.model.vit.lowering import lower
    from vit_export.model.vit.vit import Vit

    with torch.device("meta"):
        lowered = lower(Vit(spec).eval())
        image = torch.empty(1, spec.channels, *spec.image_size)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        lowered(image)
    return int(counter.get_total_flops())
