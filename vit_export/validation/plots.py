"""The error as it grows through the modules of an artifact, as a picture."""

from pathlib import Path

from vit_export.core.figures import write_picture
from vit_export.validation.localize import Location

LEAST_SHARE = 1e-3
"""Where an error of zero is drawn on a logarithmic axis, in units of what is allowed."""


def write_location(path: Path, location: Location) -> None:
    """Writes the picture, whole or not at all; its suffix tells the format.

    Raises:
        RequestError, BuildError: `path` can't be written.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    names = [module.name for module in location.modules]
    shares = [min(max(module.share, LEAST_SHARE), 1e12) for module in location.modules]
    with mpl.rc_context({"svg.hashsalt": "vit-export", "font.size": 8}):
        figure = Figure(figsize=(max(5, 0.22 * len(names)), 4), layout="constrained")
        axes = figure.add_subplot()
        axes.plot(names, shares, "o-", markersize=3)
        axes.axhline(1, color="tab:red", label="allowed")
        if location.first is not None:
            axes.axvline(names.index(location.first.name), color="tab:orange", ls=":")
        axes.set(yscale="log", ylabel="error, of what is allowed", title=location.artifact)
        axes.tick_params(axis="x", rotation=90)
        axes.legend()
        write_picture(path, figure)
