"""The speed of artifacts and baselines."""

from collections.abc import Iterator

from vit_export.bench.results import Bench
from vit_export.bench.results import Row as Timing
from vit_export.cli.render.blocks import Block, Row, Table, line, row

COLUMNS = (
    *("candidate", "p50 ms", "p90", "min", "images/s", "x first", "of limit"),
    *("load ms", "peak MB", "file MB", "worst SNR dB"),
)


def describe_bench(bench: Bench) -> Iterator[Block]:
    """Yield the machine's limit and a table of times for each batch size, and what is left out."""
    for batch, rates in bench.gflops_per_s.items():
        limits = ", ".join(
            f"{limit_ms:.2f} ms in {name} at {rates[name]:.0f} GFLOP/s"
            for name, limit_ms in bench.limits_ms(batch).items()
        )
        yield line(f"batch {batch}; this machine's limit: {limits}", highlight=False)
        yield Table(COLUMNS, tuple(_row(one) for one in bench.rows if one.batch == batch))
    for name, reason in bench.skipped.items():
        yield line(f"{name} is left out: {reason}", highlight=False)


def _row(timing: Timing) -> Row:
    share = f"{timing.limit_share:.0%}" if timing.limit_share is not None else "-"
    size = f"{timing.size_bytes / 1e6:.1f}" if timing.size_bytes else "-"
    snr = f"{timing.worst_snr_db:.1f}" if timing.worst_snr_db is not None else "-"
    return row(
        *(timing.name, f"{timing.p50_ms:.2f}", f"{timing.p90_ms:.2f}", f"{timing.min_ms:.2f}"),
        *(f"{timing.images_per_s:.1f}", f"{timing.against_first.median:.2f}", share),
        *(f"{timing.load_ms:.0f}", f"{timing.peak_bytes / 1e6:.0f}", size, snr),
    )
