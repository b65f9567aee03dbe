"""The verdict of a proof."""

from collections.abc import Iterator

from vit_export.cli.render.accuracy import describe_accuracy
from vit_export.cli.render.blocks import Block, Row, Table, line, marked_line, row
from vit_export.validation.compare import Comparison
from vit_export.validation.verdict import Verdict

COLUMNS = ("sample", "batches", "max error", "allowed", "SNR dB", "top-1")
STYLES = {
    "PROVEN": "bold green",
    "BUILT, NOT RUN": "bold yellow",
    "REJECTED": "bold red",
}
TOP1 = {True: "same", False: "DIFFERS", None: "-"}
MOST_PROBLEMS = 8


def describe_verdict(verdict: Verdict, *, verbose: bool = False) -> Iterator[Block]:
    """Yield the worst answers and the status.

    There is a row for each sample, or for each output of several. With `verbose` every answer has a
    row.
    """
    yield Table(COLUMNS, tuple(_rows(verdict, verbose=verbose)))
    for one in verdict.elsewhere:
        title = line(f"The same answers in {one.runtime}:")
        yield from (title, Table(COLUMNS, tuple(_rows(one, verbose=verbose))))
    for problem in verdict.problems[:MOST_PROBLEMS]:
        yield marked_line("✗", "red", problem)
    for recipe in verdict.not_repeated:
        yield marked_line("!", "yellow", f"{recipe} can't be made again exactly on this machine")
    yield marked_line(_label(verdict), STYLES[verdict.status], _summary(verdict))
    if verdict.reading:
        yield line(f"reading: {verdict.reading}")
    if verdict.images is not None:
        yield from describe_accuracy(verdict.images, verdict.runtime)


def _label(verdict: Verdict) -> str:
    """Return the status, and what it leaves open: PROVEN (labels not checked)."""
    if not verdict.accepted or not verdict.caveats:
        return verdict.status
    return f"{verdict.status} ({'; '.join(verdict.caveats)})"


def _rows(verdict: Verdict, *, verbose: bool) -> Iterator[Row]:
    return _answers(verdict) if verbose else _worst_answers(verdict)


def _answers(verdict: Verdict) -> Iterator[Row]:
    for one in verdict.against_eager:
        yield _row(one, f"{one.batch} (row {one.row})")


def _worst_answers(verdict: Verdict) -> Iterator[Row]:
    groups: dict[str, list[Comparison]] = {}
    for one in verdict.against_eager:  # an output of several has one row, and so has a sample
        groups.setdefault(one.output or one.sample, []).append(one)
    for answers in groups.values():
        worst = max(answers, key=lambda one: (not one.passed, one.max_abs))
        yield _row(worst, ", ".join(dict.fromkeys(str(one.batch) for one in answers)))


def _row(answer: Comparison, batches: str) -> Row:
    numbers = f"{answer.max_abs:.2e}", f"{answer.allowed:.2e}", f"{answer.snr_db:.1f}"
    style = "" if answer.passed else "bold red"
    return row(answer.subject, batches, *numbers, TOP1[answer.top1], style=style)


def _summary(verdict: Verdict) -> str:
    batches = ", ".join(map(str, verdict.batches))
    artifact = verdict.artifact
    if verdict.accepted and verdict.not_run:
        graph = f"graph proven on CPU at {verdict.least_snr_db:.1f} dB"
        artifact = f"{artifact}: {graph}; engine built, not run: {verdict.not_run}. Its graph"
    runtimes = "; in ".join(one.runtime for one in (verdict, *verdict.elsewhere))
    repeated = verdict.samples - len(verdict.not_repeated)
    drawn = "" if verdict.seed is None else f", some drawn from seed {verdict.seed}"
    limit = f", {verdict.limit}" if verdict.limit else ""
    return (
        f"{artifact} against {verdict.reference}: {len(verdict.against_eager)} answers to "
        f"{repeated} of {verdict.samples} samples{drawn}, at batch {batches}, "
        f"{len(verdict.against_alone)} rows against the image alone, "
        f"in {runtimes}, {verdict.precision}{limit}."
    )
