"""What all tables share, and what is shown while work goes on."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from vit_export.core.progress import Progress, Tell, silent

BAR_CELLS = 24


def stages(console: Console, *, quiet: bool) -> Progress:
    """Progress that shows the running stage with a spinner, and each finished one with its time."""

    @contextmanager
    def stage(name: str) -> Iterator[Tell]:
        started = time.perf_counter()
        with console.status(name) as status:
            yield lambda share: status.update(_bar(name, share))
        console.print(f"[dim]{time.perf_counter() - started:6.1f} s  {escape(name)}[/dim]")

    return silent if quiet else stage


def _bar(name: str, share: float) -> Text:
    """A stage, and how much of it is done."""
    full = round(BAR_CELLS * share)
    return Text.assemble(
        f"{name} ", ("━" * full, "green"), ("━" * (BAR_CELLS - full), "dim"), f" {share:4.0%}"
    )


def table_of(*columns: str) -> Table:
    """Plain and narrow: it has to fit 80 columns, and to be read in a log."""
    return Table(*columns, box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
