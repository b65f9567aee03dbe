"""The error of an artifact from module to module, as a plot."""

from pathlib import Path

from vit_export.core.figures import save_figure
from vit_export.validation.localize import Localization

SMALLEST_SHARE = 1e-3
"""Share of what is allowed where an error of zero is drawn; the axis is logarithmic."""
LARGEST_SHARE = 1e12


def plot_localization(path: Path, localization: Localization) -> None:
    """Write the plot to `path`, whole or not at all, in the format of its suffix.

    Raises:
        RequestError, BuildError: `path` cannot be written.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    modules = localization.modules
    names = [module.name for module in modules]
    shares = [min(max(module.share, SMALLEST_SHARE), LARGEST_SHARE) for module in modules]
    with mpl.rc_context({"svg.hashsalt": "vit-export", "font.size": 8}):
        figure = Figure(figsize=(max(5, 0.22 * len(names)), 4), layout="constrained")
        axes = figure.add_subplot()
        axes.plot(names, shares, "o-", markersize=3)
        axes.axhline(1, color="tab:red", label="allowed")
        if localization.first is not None:
            axes.axvline(names.index(localization.first.name), color="tab:orange", ls=":")
        axes.set(yscale="log", ylabel="error / allowed error", title=localization.artifact)
        axes.tick_params(axis="x", rotation=90)
        axes.legend()
        save_figure(path, figure)
