"""Emulated CPUs: what is installed, and one verdict for each."""

from collections.abc import Iterator, Sequence

from vit_export.api.emulate import Emulator
from vit_export.cli.render.blocks import Block, Row, Span, Table, line, row
from vit_export.cli.render.verdict import STYLES
from vit_export.validation.emulation.cpus import CPUS, LIMITS
from vit_export.validation.verdict import Verdict


def describe_emulators(emulators: Sequence[Emulator]) -> Iterator[Block]:
    """Yield the CPUs of `--on`, and one row per emulator: whether it is installed, and where."""
    yield Table(("--on", "computes like"), tuple(row(c.name, c.examples) for c in CPUS.values()))
    yield Table(("emulator", "installed", "folder"), tuple(map(_emulator_row, emulators)))
    for fix in dict.fromkeys(one.fix for one in emulators if one.fix):
        yield line(f"Fix: {fix}")


def _emulator_row(one: Emulator) -> Row:
    installed = Span("yes", "green") if one.installed else Span("no", "red")
    return row(one.title, installed, one.folder)


def describe_emulated(verdict: Verdict) -> Iterator[Block]:
    """Yield a row for this machine and for each emulated CPU, and what emulation can't prove."""
    if verdict.emulated:
        rows = [_verdict_row("this machine", verdict.here)]
        rows += [_verdict_row(name, one) for name, one in verdict.emulated.items()]
        yield Table(("on", "verdict", "worst SNR dB", "runtime"), tuple(rows))
        yield line(LIMITS)


def _verdict_row(name: str, verdict: Verdict) -> Row:
    status = Span(verdict.status, STYLES[verdict.status])
    return row(name, status, f"{verdict.least_snr_db:.1f}", verdict.runtime)
