"""What is printed of a search for precisions."""

from rich.console import Console
from rich.markup import escape

from vit_export.artifact.budget import SearchResult
from vit_export.cli.render.tables import table_of


def print_search(console: Console, search: SearchResult) -> None:
    """A row for each layer: what it got, what that costs, what it gains; and all together."""
    table = table_of("layer", "precision", "alone dB", "cost dB", "gain ms")
    for one in search.choices:
        alone = "-" if one.alone_snr_db is None else f"{one.alone_snr_db:.1f}"
        cost = "-" if one.alone_snr_db is None else f"{one.cost_db:.2f}"
        table.add_row(escape(one.layer), one.scheme, alone, cost, f"{one.gain_ms:.2f}")
    console.print(table)
    taken, gain = search.tried[-1], sum(one.gain_ms for one in search.choices)
    told = (
        f"{taken.layers} of {len(search.choices)} layers are quantized: {taken.ms:.1f} ms in place "
        f"of {taken.ms + gain:.1f} for all of them in {search.runtime}; "
        f"{taken.worst_snr_db:.1f} dB is the worst of {search.images} images, "
        f"{search.budget.min_snr_db:g} dB is asked"
    )
    console.print(escape(told), soft_wrap=True)
