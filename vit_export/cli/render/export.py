"""An exported file."""

from collections.abc import Iterator

from vit_export.api.result import ExportResult
from vit_export.cli.render.assumed import describe_assumed
from vit_export.cli.render.blocks import Block, Line, Span, line
from vit_export.cli.render.mixed_precision import describe_search
from vit_export.cli.render.unused import describe_unused


def describe_export(result: ExportResult) -> Iterator[Block]:
    """Yield where the file is, its size, the origin of its weights, and notes on it."""
    origin = result.origin
    yield line(f"{result.path}: {result.size_bytes / 1e6:.1f} MB, weights: {origin.weights_from}")
    yield from describe_assumed(origin.assumed)
    if origin.preprocessing:
        yield line(f"preprocessing: {origin.preprocessing}")
    if origin.calibration:
        yield line(f"calibration: {origin.calibration}")
    if origin.search is not None:
        yield from describe_search(origin.search)
    if origin.kept:
        reasons = (f"{name} ({reason})" for name, reason in origin.kept.items())
        yield line(f"in fp32: {', '.join(reasons)}")
    yield from map(line, result.notes)
    yield from describe_unused(origin.unused)


def describe_random_weights() -> Iterator[Block]:
    """Yield a loud warning: with random weights only speed and size are meaningful."""
    text = (
        " the weights are RANDOM: the file is right for speed and size, its answers mean nothing. "
        "Fix: --weights FILE, or a model that ships them."
    )
    yield Line((Span("Warning:", "bold yellow"), Span(text)))
