"""What is printed: values to text or JSON. No arithmetic here."""

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vit_export.compare import Comparison
from vit_export.health import Health
from vit_export.inspection import Inspection
from vit_export.layers import Summary
from vit_export.location import Location
from vit_export.prediction import Prediction
from vit_export.presets import Preset
from vit_export.progress import Progress, silent
from vit_export.speed.rows import Bench
from vit_export.verdict import Built, Verdict

if TYPE_CHECKING:  # it comes from a heavy module, and only inspect has one
    from vit_export.graph.audit import Audit

SHOWN = 3
"""Names in a line that stands for many."""


def to_json(values: Any) -> str:
    """One JSON document; infinities and NaN, which JSON lacks, as strings."""
    return json.dumps(_finite(values), indent=2, sort_keys=True, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return value


def stages(console: Console, *, quiet: bool) -> Progress:
    """Progress that shows the running stage with a spinner, and each finished one with its time."""

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        started = time.perf_counter()
        with console.status(name):
            yield
        console.print(f"[dim]{time.perf_counter() - started:6.1f} s  {escape(name)}[/dim]")

    return silent if quiet else stage


def print_verdict(console: Console, verdict: Verdict, *, verbose: bool = False) -> None:
    """The verdict in a table, a row per sample (or per answer), and a sentence."""
    table = _table("sample", "batches", "max error", "allowed", "SNR dB", "top-1")
    for name, batches, worst in _rows(verdict, verbose=verbose):
        agrees = {True: "same", False: "DIFFERS", None: "-"}[worst.top1]
        numbers = f"{worst.max_abs:.2e}", f"{worst.allowed:.2e}", f"{worst.snr_db:.1f}"
        style = None if worst.passed else "bold red"
        table.add_row(escape(name), batches, *numbers, agrees, style=style)
    console.print(table)
    for problem in verdict.problems[:8]:
        console.print(f"[red]✗[/red] {escape(problem)}")
    for recipe in verdict.not_repeated:
        console.print(f"[yellow]![/yellow] {escape(recipe)} could not be made again here exactly")
    colour = "green" if verdict.status == "PROVEN" else "red"
    status = f"[bold {colour}]{verdict.status}[/bold {colour}]"
    console.print(status, escape(_sentence(verdict)), soft_wrap=True)


def print_built(console: Console, built: Built) -> None:
    """Where the file is, how large, and whose weights it holds."""
    told = f"{built.path}: {built.size_bytes / 1e6:.1f} MB, weights: {built.origin.weights_from}"
    console.print(escape(told), soft_wrap=True)
    if built.origin.preprocessing:
        console.print(f"preprocessing: {escape(built.origin.preprocessing)}", soft_wrap=True)
    _print_unused(console, built.origin.unused)


def _print_unused(console: Console, unused: Mapping[str, str]) -> None:
    """One line per reason: a whole CLIP has hundreds of tensors for text."""
    for reason in dict.fromkeys(unused.values()):
        names = [name for name, of_name in unused.items() if of_name == reason]
        shown = ", ".join(names[:SHOWN]) + (f", … ({len(names)})" if len(names) > SHOWN else "")
        console.print(f"unused: {escape(shown)}: {escape(reason)}", soft_wrap=True)


def print_random_weights(console: Console) -> None:
    """A loud note: right for speed and size, worthless for answers."""
    console.print(
        "[bold yellow]Warning:[/bold yellow] the weights are RANDOM: the file is right for speed "
        "and size, its answers mean nothing. Fix: --weights FILE, or a model that ships them.",
        soft_wrap=True,
    )


def _table(*columns: str) -> Table:
    """Plain and narrow: it has to fit 80 columns, and to be read in a log."""
    return Table(*columns, box=SIMPLE_HEAD, show_edge=False, pad_edge=False)


def _rows(verdict: Verdict, *, verbose: bool) -> Iterator[tuple[str, str, Comparison]]:
    if verbose:
        for found in verdict.against_eager:
            yield found.sample, f"{found.batch} (row {found.row})", found
        return
    for name in dict.fromkeys(found.sample for found in verdict.against_eager):
        of_sample = [found for found in verdict.against_eager if found.sample == name]
        worst = max(of_sample, key=lambda found: (not found.passed, found.max_abs))
        sizes = dict.fromkeys(str(found.batch) for found in of_sample)
        yield name, ", ".join(sizes), worst


def _sentence(verdict: Verdict) -> str:
    batches = ", ".join(map(str, verdict.batches))
    return (
        f"{verdict.artifact} against {verdict.reference}: {len(verdict.against_eager)} answers at "
        f"batch {batches}, {len(verdict.against_alone)} rows against the image alone, "
        f"in {verdict.runtime}, {verdict.precision}."
    )


def print_predictions(console: Console, predictions: Sequence[Prediction]) -> None:
    """One line per image and class: name and probability."""
    table = _table("image", "class", "probability")
    for found in predictions:
        best = zip(found.classes, found.probabilities, strict=True)
        for i, (name, probability) in enumerate(best):
            table.add_row(escape(found.image) if i == 0 else "", escape(name), f"{probability:.1%}")
    console.print(table)


def print_summary(console: Console, summary: Summary) -> None:
    """The layer table, and what the seed document's own count leaves out."""
    console.print(summary.table, markup=False, highlight=False, soft_wrap=True)
    layers = summary.parameters - summary.token_parameters
    console.print(
        f"{summary.model}: {summary.parameters:,} parameters. torchsummary, which the seed "
        f"document uses, counts {layers:,}: it leaves out prefix tokens and positions "
        f"({summary.token_parameters:,}).",
        highlight=False,
        soft_wrap=True,
    )


def print_inspection(console: Console, found: Inspection) -> None:
    """What is known of a file, a line each; then what is left out, and what is missing."""
    console.print(f"{escape(found.path)}: {found.kind}, {escape(found.family)}", soft_wrap=True)
    console.print(f"{found.parameters:,} parameters, {found.labels} labels", highlight=False)
    table = _table("field", "value")
    for name, value in {**(found.spec or {}), **(found.preprocessing or {})}.items():
        table.add_row(name, escape(str(value)))
    for name, value in found.metadata.items():
        table.add_row(name, escape(value))
    if found.spec:
        console.print(table)
    if found.audit is not None:
        _print_audit(console, found.audit, found.size_bytes)
    _print_unused(console, found.unused)
    for told in found.missing:
        console.print(f"[yellow]missing:[/yellow] {escape(told)}", soft_wrap=True)


def _print_audit(console: Console, audit: "Audit", size_bytes: int) -> None:
    """Fusions, operators, arithmetic and types of an ONNX file, a line each."""
    counts = ", ".join(f"{count} {name}" for name, count in audit.operators.items())
    types = ", ".join(f"{count:,} {name}" for name, count in audit.dtypes.items())
    domains = "".join(f", {name}" for name in audit.domains)
    for fusion in audit.fusions:
        colour = "green" if fusion.whole else "yellow"
        console.print(f"[{colour}]{escape(str(fusion))}[/{colour}]", highlight=False)
    size = f"{size_bytes / 1e6:.1f} MB, dynamic: {', '.join(audit.dynamic_axes) or 'nothing'}"
    told = [
        f"{audit.nodes} nodes: {counts}",
        f"{audit.flops / 1e9:.2f} GFLOP an image in products; numbers: {types}",
        f"opset {audit.opset}{domains}, IR {audit.ir_version}, {size}",
    ]
    console.print(escape("\n".join(told)), highlight=False, soft_wrap=True)


def print_bench(console: Console, bench: Bench) -> None:
    """A table per batch size: times, how the others compare with the first, the machine's limit."""
    for batch, rate in bench.gflops_per_s.items():
        table = _table(
            *("contestant", "p50 ms", "p90", "min", "images/s", "takes x first", "of limit"),
            *("load ms", "peak MB", "file MB", "worst SNR dB"),
        )
        for row in (row for row in bench.rows if row.batch == batch):
            against = row.against_first
            size = f"{row.size_bytes / 1e6:.1f}" if row.size_bytes else "-"
            snr = f"{row.worst_snr_db:.1f}" if row.worst_snr_db is not None else "-"
            table.add_row(
                *(escape(row.name), f"{row.p50_ms:.2f}", f"{row.p90_ms:.2f}", f"{row.min_ms:.2f}"),
                *(f"{row.images_per_s:.1f}", f"{against.median:.2f}"),
                *(f"{row.limit_share:.0%}", f"{row.load_ms:.0f}", f"{row.peak_bytes / 1e6:.0f}"),
                *(size, snr),
            )
        limit = f"{bench.limit_ms(batch):.2f} ms at {rate:.0f} GFLOP/s"
        console.print(f"batch {batch}; this machine's limit: {limit}", highlight=False)
        console.print(table)


def print_location(console: Console, location: Location, *, verbose: bool = False) -> None:
    """The error in each block, and in each module of the first one that leaves tolerance."""
    table = _table("module", "max error", "allowed", "SNR dB", "worst sample")
    first = location.first
    for module in location.modules:
        if verbose or not module.block or (first and module.block == first.block):
            worst = module.worst
            table.add_row(
                *(escape(module.name), f"{worst.max_abs:.2e}", f"{worst.allowed:.2e}"),
                *(f"{worst.snr_db:.1f}", escape(worst.sample)),
                style=None if worst.passed else "bold red",
            )
    console.print(table)
    if first is None:
        told = f"{len(location.modules)} modules of {location.artifact} answer as eager PyTorch's"
        console.print(escape(f"{told}, in {location.runtime}."), soft_wrap=True)


def print_models(console: Console, presets: Sequence[tuple[Preset, int]]) -> None:
    """One row per preset."""
    table = _table("model", "parameters", "image", "classes", "weights")
    for preset, parameters in presets:
        height, width = preset.spec.image_size
        classes = str(preset.spec.classes or "features")
        weights = "shipped" if preset.weights else "-"
        size = f"{height}x{width}x{preset.spec.channels}"
        table.add_row(preset.name, f"{parameters:,}", size, classes, weights)
    console.print(table)


def print_health(console: Console, found: Sequence[Health]) -> None:
    """One row per target: does it work here, with which versions, what to install."""
    table = _table("target", "works", "versions", "note")
    for health in found:
        works = "[green]yes[/green]" if health.works else "[red]no[/red]"
        versions = ", ".join(f"{name} {version}" for name, version in health.versions.items())
        note = health.note if health.works else f"Fix: {health.fix}"
        table.add_row(health.target, works, escape(versions), escape(note))
    console.print(table)
