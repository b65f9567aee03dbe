"""Lines, tables and progress in colour; the only file that prints with rich."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable
from rich.text import Text

from vit_export.cli.render.blocks import Block, Line, Span, Table
from vit_export.cli.render.printable import make_printable
from vit_export.core.progress import ReportShare

BAR_CELLS = 24
ANY_WIDTH = 100_000
"""Columns of a file: no line of a table is longer."""


def print_prettily(blocks: Iterable[Block], stream: TextIO) -> None:
    """Print blocks to a terminal."""
    console = _open_console(stream)
    for block in blocks:
        if isinstance(block, Line):
            text = "".join(map(_markup, block.spans))
            console.print(text, highlight=block.highlight, soft_wrap=True)
        else:
            console.print(_rich_table(block))


def _open_console(stream: TextIO) -> Console:
    """Return a console that writes names as they are, and whole where no terminal shows them."""
    return Console(file=stream, emoji=False, width=None if stream.isatty() else ANY_WIDTH)


def _markup(span: Span) -> str:
    text = escape(make_printable(span.text))
    return f"[{span.style}]{text}[/{span.style}]" if span.style else text


def _rich_table(table: Table) -> RichTable:
    rich_table = RichTable(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in table.columns:
        rich_table.add_column(escape(make_printable(name)), overflow="fold")
    for row in table.rows:
        cells = (Text(make_printable(cell.text), cell.style) for cell in row.cells)
        rich_table.add_row(*cells, style=row.style or None)
    return rich_table


@contextmanager
def show_stage_prettily(name: str, stream: TextIO) -> Iterator[ReportShare]:
    """Show a running stage with a spinner and a bar, and the finished one with its time."""
    console = _open_console(stream)
    started = time.perf_counter()
    with console.status(escape(name)) as status:
        yield lambda share: status.update(_bar(name, share))
    seconds = time.perf_counter() - started
    console.print(f"[dim]{seconds:6.1f} s  {escape(name)}[/dim]")


def _bar(name: str, share: float) -> Text:
    full = round(BAR_CELLS * share)
    return Text.assemble(
        f"{name} ", ("━" * full, "green"), ("━" * (BAR_CELLS - full), "dim"), f" {share:4.0%}"
    )
