"""Lines and tables as plain text: for files, pipes, and machines without rich."""

from collections.abc import Iterator, Sequence

from vit_export.cli.render.blocks import Block, Line, Table
from vit_export.cli.render.printable import make_printable

COLUMN_GAP = "   "
RULE = "─"
LONGEST_RULE = 80


def format_plainly(block: Block) -> str:
    """Return the text of a block, whatever its width."""
    if isinstance(block, Line):
        return "".join(make_printable(span.text) for span in block.spans)
    return "\n".join(_table_lines(block))


def _table_lines(table: Table) -> Iterator[str]:
    rows = [[make_printable(cell.text) for cell in row.cells] for row in table.rows]
    header = [make_printable(name) for name in table.columns]
    columns = zip(header, *rows, strict=True)
    widths = [max(map(len, column)) for column in columns]
    yield _join(header, widths)
    whole = sum(widths) + len(COLUMN_GAP) * (len(widths) - 1)
    yield RULE * min(whole, LONGEST_RULE)
    for cells in rows:
        yield _join(cells, widths)


def _join(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return COLUMN_GAP.join(padded).rstrip()
