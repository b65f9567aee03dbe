"""A bar chart of latency and its spread by candidate, beside the roofline of the machine."""

from pathlib import Path

from vit_export.bench.results import Bench
from vit_export.core.figures import save_figure

COLOURS = {"fp32": "tab:red", "int8": "tab:orange"}
"""Colour of the roofline, by arithmetic."""


def write_plot(path: Path, bench: Bench) -> None:
    """Write the chart to `path`, whole or not at all; its suffix sets the format.

    Raises:
        RequestError: the suffix names no image format, or the folder is missing.
        BuildError: the file can't be written.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    batches = tuple(bench.gflops_per_s)
    with mpl.rc_context({"svg.hashsalt": "vit-export", "font.size": 9}):
        figure = Figure(figsize=(5.5 * len(batches), 3.6), layout="constrained")
        for number, batch in enumerate(batches):
            axes = figure.add_subplot(1, len(batches), number + 1)
            rows = [row for row in bench.rows if row.batch == batch][::-1]
            medians = [row.p50_ms for row in rows]
            below = [row.p50_ms - row.min_ms for row in rows]
            above = [row.p90_ms - row.p50_ms for row in rows]
            axes.barh([row.name for row in rows], medians, xerr=[below, above], color="tab:blue")
            for name, limit_ms in bench.limits_ms(batch).items():
                axes.axvline(limit_ms, color=COLOURS[name], label=f"limit of the machine, {name}")
            axes.set(title=f"batch {batch}", xlabel="ms (median; whiskers: least, 90th percentile)")
            axes.legend(fontsize=7)
        save_figure(path, figure)
