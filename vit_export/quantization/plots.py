"""The plot of a search for mixed precision: latency against accuracy."""

from pathlib import Path

from vit_export.artifact.budget import SearchResult
from vit_export.core.figures import save_figure


def write_search_plot(path: Path, search: SearchResult) -> None:
    """Write the plot, whole or not at all; the suffix of `path` selects the format.

    Raises:
        RequestError: `path` is a folder, or its folder is missing.
        BuildError: `path` cannot be written.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    *others, best = search.tried
    with mpl.rc_context({"svg.hashsalt": "vit-export", "font.size": 9}):
        figure = Figure(figsize=(5.5, 3.6), layout="constrained")
        axes = figure.add_subplot()
        predicted = [[step[axis] for step in search.foreseen] for axis in (0, 1)]
        axes.plot(*predicted, "-", color="tab:gray", label="predicted")
        for points, mark, label in ((others, "o", "measured"), ([best], "*", "chosen")):
            ms, snr = [one.ms for one in points], [one.worst_snr_db for one in points]
            axes.plot(ms, snr, mark, markersize=4 if mark == "o" else 12, label=label)
        min_snr_db = search.budget.min_snr_db
        axes.axhline(min_snr_db, color="tab:red", ls=":", label=f"budget: {min_snr_db:g} dB")
        axes.set(xlabel="ms of the encoder's linear layers", ylabel="SNR of the worst image, dB")
        axes.legend()
        save_figure(path, figure)
