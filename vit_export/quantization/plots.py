"""Latency against accuracy of the mixtures that a search looked at, as a picture."""

from pathlib import Path

from vit_export.artifact.budget import SearchResult
from vit_export.core.figures import save_figure


def write_search_plot(path: Path, search: SearchResult) -> None:
    """Writes the picture, whole or not at all; its suffix tells the format.

    Raises:
        RequestError, BuildError: `path` can't be written.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    *others, taken = search.tried
    with mpl.rc_context({"svg.hashsalt": "vit-export", "font.size": 9}):
        figure = Figure(figsize=(5.5, 3.6), layout="constrained")
        axes = figure.add_subplot()
        foreseen = [[step[axis] for step in search.foreseen] for axis in (0, 1)]
        axes.plot(*foreseen, "-", color="tab:gray", label="foretold")
        for points, mark, told in ((others, "o", "tried"), ([taken], "*", "taken")):
            ms, snr = [one.ms for one in points], [one.worst_snr_db for one in points]
            axes.plot(ms, snr, mark, markersize=4 if mark == "o" else 12, label=told)
        least = search.budget.min_snr_db
        axes.axhline(least, color="tab:red", ls=":", label=f"asked for: {least:g} dB")
        axes.set(xlabel="ms of the encoder's linear layers", ylabel="SNR of the worst image, dB")
        axes.legend()
        save_figure(path, figure)
