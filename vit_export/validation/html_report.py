"""A verdict as one HTML page that needs nothing beside it: the plots are inside."""

import io
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from vit_export.artifact.manifest import Manifest
from vit_export.core.staging import staged
from vit_export.validation.verdict import Verdict

if TYPE_CHECKING:  # matplotlib is heavy, and only a page needs it
    from matplotlib.axes import Axes

LEAST_SHARE = 1e-2
"""Where an error of zero is drawn on a logarithmic axis, in units of what is allowed."""
MOST_NAMES = 40
"""With more samples than this their names would cover each other."""


def write_page(path: Path, verdict: Verdict, manifest: Manifest) -> None:
    """Writes the page, whole or not at all.

    Raises:
        RequestError, BuildError: `path` can't be written.
    """
    from jinja2 import Environment

    template = (files("vit_export.validation") / "verdict.html").read_text(encoding="utf-8")
    page = Environment(autoescape=True).from_string(template)
    html = page.render(verdict=verdict, manifest=manifest, plot=_plot(verdict))
    with staged(path) as stage:
        stage.file.write_text(html, encoding="utf-8")
        stage.commit()


def _plot(verdict: Verdict) -> str:
    """Error over allowance and signal-to-noise of every answer, as SVG."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "vit-export", "font.size": 9}):
        figure = Figure(figsize=(10, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        _draw_errors(left, verdict)
        _draw_snr(right, verdict)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue().partition("<svg")[2].join(["<svg", ""])


def _draw_errors(axes: "Axes", verdict: Verdict) -> None:
    for batch in verdict.batches:
        found = [c for c in verdict.against_eager if c.batch == batch]
        shares = [max(c.max_abs / c.allowed, LEAST_SHARE) for c in found if c.allowed]
        names = [c.sample for c in found if c.allowed]
        axes.plot(names, shares, "o", alpha=0.7, label=f"batch {batch}")
    axes.axhline(1, color="tab:red", label="allowed")
    axes.set(yscale="log", ylabel="max error / allowed", title="Against eager PyTorch")
    if len({c.sample for c in verdict.against_eager}) <= MOST_NAMES:
        axes.tick_params("x", rotation=40)
    else:
        axes.set_xticks([])
    axes.legend(fontsize=7)


def _draw_snr(axes: "Axes", verdict: Verdict) -> None:
    for name, found in (("eager", verdict.against_eager), ("alone", verdict.against_alone)):
        axes.hist([c.snr_db for c in found if abs(c.snr_db) < 1e9], alpha=0.6, label=name)  # noqa: PLR2004 not infinite
    axes.set(xlabel="signal-to-noise (dB)", ylabel="answers", title="All answers")
    axes.legend(fontsize=7)
