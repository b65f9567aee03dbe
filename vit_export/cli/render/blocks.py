"""The content of a report: lines and tables of styled text, independent of what prints them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """A piece of text in one style."""

    text: str
    style: str = ""
    """A style of rich, such as `bold red`; plain text ignores it."""


@dataclass(frozen=True)
class Line:
    """One line; a terminal wraps it, and it is never truncated."""

    spans: tuple[Span, ...]
    highlight: bool = True
    """Whether rich colours numbers and paths."""


@dataclass(frozen=True)
class Row:
    """One row of a table, with a cell for every column."""

    cells: tuple[Span, ...]
    style: str = ""


@dataclass(frozen=True)
class Table:
    """A table with a header; it has to fit 80 columns, and to be readable in a log."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]


Block = Line | Table


def line(text: str, style: str = "", *, highlight: bool = True) -> Line:
    """Return a line in one style."""
    return Line((Span(text, style),), highlight)


def marked_line(mark: str, style: str, text: str) -> Line:
    """Return a line that begins with a styled mark."""
    return Line((Span(mark, style), Span(f" {text}")))


def row(*cells: str | Span, style: str = "") -> Row:
    """Return a row; cells that are plain strings have no style of their own."""
    return Row(tuple(Span(cell) if isinstance(cell, str) else cell for cell in cells), style)
