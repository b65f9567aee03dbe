"""The search for a mixture of precisions."""

from collections.abc import Iterator

from vit_export.artifact.budget import Choice, SearchResult
from vit_export.cli.render.blocks import Block, Row, Table, line, row

COLUMNS = ("layer", "precision", "alone dB", "cost dB", "gain ms")


def describe_search(search: SearchResult) -> Iterator[Block]:
    """Yield the cost and gain of each layer in its precision, and those of all together."""
    yield Table(COLUMNS, tuple(map(_row, search.choices)))
    result, gain_ms = search.tried[-1], sum(choice.gain_ms for choice in search.choices)
    yield line(
        f"{result.layers} of {len(search.choices)} layers are quantized: {result.ms:.1f} ms "
        f"instead of {result.ms + gain_ms:.1f} for all of them in {search.runtime}; "
        f"{result.worst_snr_db:.1f} dB is the worst of {search.images} images, "
        f"{search.budget.min_snr_db:g} dB is required"
    )


def _row(choice: Choice) -> Row:
    alone, cost = "-", "-"
    if choice.alone_snr_db is not None:
        alone, cost = f"{choice.alone_snr_db:.1f}", f"{choice.cost_db:.2f}"
    return row(choice.layer, choice.scheme, alone, cost, f"{choice.gain_ms:.2f}")
