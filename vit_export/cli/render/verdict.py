"""What is printed of a proof and of the file that it proves or rejects."""

from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape

from vit_export.cli.render.accuracy import print_judgement
from vit_export.cli.render.inspection import print_unused
from vit_export.cli.render.mixed_precision import print_search
from vit_export.cli.render.tables import table_of
from vit_export.validation.compare import Comparison
from vit_export.validation.localize import Localization
from vit_export.validation.verdict import Built, Verdict

COLOURS = {"PROVEN": "green", "BUILT, NOT RUN": "yellow", "REJECTED": "red"}


def print_verdict(console: Console, verdict: Verdict, *, verbose: bool = False) -> None:
    """The verdict in a table, a row per sample (or per answer), and a sentence."""
    table = table_of("sample", "batches", "max error", "allowed", "SNR dB", "top-1")
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
    colour = COLOURS[verdict.status]
    status = f"[bold {colour}]{verdict.status}[/bold {colour}]"
    console.print(status, escape(_sentence(verdict)), soft_wrap=True)
    if verdict.images is not None:
        print_judgement(console, verdict.images, verdict.runtime)


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
    told = verdict.artifact
    if verdict.accepted and verdict.not_run:
        graph = f"graph proven on CPU at {verdict.least_snr_db:.1f} dB"
        told = f"{told}: {graph}; engine built, not run: {verdict.not_run}. Its graph"
    return (
        f"{told} against {verdict.reference}: {len(verdict.against_eager)} answers at "
        f"batch {batches}, {len(verdict.against_alone)} rows against the image alone, "
        f"in {verdict.runtime}, {verdict.precision}."
    )


def print_built(console: Console, built: Built) -> None:
    """Where the file is, how large, and whose weights it holds."""
    told = f"{built.path}: {built.size_bytes / 1e6:.1f} MB, weights: {built.origin.weights_from}"
    console.print(escape(told), soft_wrap=True)
    if built.origin.preprocessing:
        console.print(f"preprocessing: {escape(built.origin.preprocessing)}", soft_wrap=True)
    if built.origin.calibration:
        console.print(f"calibration: {escape(built.origin.calibration)}", soft_wrap=True)
    if built.origin.search is not None:
        print_search(console, built.origin.search)
    for note in built.notes:
        console.print(escape(note), soft_wrap=True)
    print_unused(console, built.origin.unused)


def print_random_weights(console: Console) -> None:
    """A loud note: right for speed and size, worthless for answers."""
    console.print(
        "[bold yellow]Warning:[/bold yellow] the weights are RANDOM: the file is right for speed "
        "and size, its answers mean nothing. Fix: --weights FILE, or a model that ships them.",
        soft_wrap=True,
    )


def print_location(console: Console, location: Localization, *, verbose: bool = False) -> None:
    """The error in each block, and in each module of the first one that leaves tolerance."""
    table = table_of("module", "max error", "allowed", "SNR dB", "worst sample")
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
