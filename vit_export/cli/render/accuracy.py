"""What is printed of an artifact's worth on a user's images."""

from rich.console import Console
from rich.markup import escape

from vit_export.cli.render.tables import table_of
from vit_export.data.dataset import Skipped
from vit_export.validation.metrics import AccuracyReport, Proportion


def print_judgement(console: Console, judged: AccuracyReport, runtime: str) -> None:
    """Accuracy before and after in a table, agreement in a sentence, and what took no part."""
    accuracies = {"eager PyTorch": judged.accuracy_before, runtime: judged.accuracy_after}
    known = {name: share for name, share in accuracies.items() if share is not None}
    if known:
        table = table_of(f"{judged.count} images", "right", "accuracy", "95% interval")
        for name, share in known.items():
            table.add_row(escape(name), str(share.hits), f"{share.value:.2%}", _interval(share))
        console.print(table)
    for told in _told(judged):
        console.print(escape(told), soft_wrap=True)
    if judged.not_finite:
        console.print(f"[red]✗[/red] {judged.not_finite} answers are NaN or infinite")
    _print_skipped(console, judged.unreadable, "can't be read")
    _print_skipped(console, judged.unlabelled, "have no label")


def _told(judged: AccuracyReport) -> list[str]:
    """The sentences that hold eager PyTorch and the artifact against each other."""
    told = []
    if judged.agreement is not None:
        same = judged.agreement
        told.append(
            f"same top class as eager PyTorch: {same.hits} of {same.of} images "
            f"({same.value:.2%}, 95% interval {_interval(same)})"
        )
    if judged.difference_points is not None:
        told.append(f"difference in accuracy: {judged.difference_points:+.2f} points")
    if judged.worst_snr_db is not None:
        worst = f"{judged.worst_snr_db:.1f} dB, of {judged.worst_image}"
        told.append(f"worst SNR of {judged.count} images: {worst}")
    return told


def _interval(share: Proportion) -> str:
    low, high = share.interval
    return f"{low:.2%} to {high:.2%}"


def _print_skipped(console: Console, skipped: Skipped, why: str) -> None:
    if skipped.count:
        told = f"{skipped.count} images {why} and were left out: {skipped.names}"
        console.print(f"[yellow]![/yellow] {escape(told)}", soft_wrap=True)
