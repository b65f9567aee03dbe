"""The accuracy of an artifact on the user's images."""

from collections.abc import Iterator

from vit_export.cli.render.blocks import Block, Table, line, marked_line, row
from vit_export.data.image_folder import SkippedImages
from vit_export.validation.metrics import AccuracyReport, Proportion


def describe_accuracy(report: AccuracyReport, runtime: str) -> Iterator[Block]:
    """Yield accuracy before and after, agreement with eager PyTorch, and images left out."""
    accuracies = {"eager PyTorch": report.accuracy_before, runtime: report.accuracy_after}
    rows = [
        row(name, str(share.hits), f"{share.value:.2%}", _interval(share))
        for name, share in accuracies.items()
        if share is not None
    ]
    if rows:
        yield Table((f"{report.count} images", "right", "accuracy", "95% interval"), tuple(rows))
    yield from map(line, _comparisons(report))
    if report.not_finite:
        yield marked_line("✗", "red", f"{report.not_finite} answers are NaN or infinite")
    yield from _describe_skipped(report.unreadable, "images can't be read and")
    yield from _describe_skipped(report.unlabelled, "images have no label and")
    yield from _describe_skipped(report.not_images, "other files are no images and")


def _comparisons(report: AccuracyReport) -> Iterator[str]:
    """Yield sentences that compare the artifact with eager PyTorch."""
    if report.agreement is not None:
        same = report.agreement
        yield (
            f"same top class as eager PyTorch: {same.hits} of {same.of} images "
            f"({same.value:.2%}, 95% interval {_interval(same)})"
        )
    if report.same_classes is not None:
        same = report.same_classes
        yield (
            f"same classes above 50% as eager PyTorch: {same.hits} of {same.of} images "
            f"({same.value:.2%}, 95% interval {_interval(same)})"
        )
    if report.difference_points is not None:
        yield f"difference in accuracy: {report.difference_points:+.2f} points"
    if report.worst_snr_db is not None:
        worst = f"{report.worst_snr_db:.1f} dB, of {report.worst_image}"
        yield f"worst SNR of {report.count} images: {worst}"


def _interval(share: Proportion) -> str:
    low, high = share.interval
    return f"{low:.2%} to {high:.2%}"


def _describe_skipped(skipped: SkippedImages, reason: str) -> Iterator[Block]:
    if skipped.count:
        text = f"{skipped.count} {reason} were left out: {skipped.names}"
        yield marked_line("!", "yellow", text)
