"""A verdict as one HTML file that needs no other file: the plots are inside."""

import io
import math
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from vit_export.artifact.manifest import Manifest
from vit_export.core.errors import RequestError
from vit_export.core.output_path import check_keeps_inputs, check_writable, resolve_out
from vit_export.core.staging import stage_file
from vit_export.validation.verdict import Verdict

if TYPE_CHECKING:  # matplotlib is heavy, and only a report needs it
    from matplotlib.axes import Axes

SUFFIXES = ("", ".html", ".htm")
SMALLEST_SHARE = 1e-2
"""Share of what is allowed where an error of zero is drawn; the axis is logarithmic."""
MOST_NAMES = 40
"""Most samples whose names fit under the plot."""


def resolve_report(report: str | Path | None, inputs: Mapping[str, Path | None]) -> Path | None:
    """Return the path of a report to write, after every check; None if none was requested.

    Args:
        report: the file to write.
        inputs: files and folders that the command reads, by the option that names each.

    Raises:
        RequestError: the suffix is not that of HTML, `report` can't be a file, or it is one of
            `inputs`.
        BuildError: the folder cannot be written to.
    """
    if report is None:
        return None
    path = resolve_out(report)
    if path.suffix.lower() not in SUFFIXES:
        message = f"{path}: the report is HTML, and {path.suffix} is no suffix for that."
        raise RequestError(message, f"name it {path.with_suffix('.html')}.")
    check_writable(path)
    check_keeps_inputs(path, inputs, option="--report", suffixes=SUFFIXES)
    return path


def write_report(path: Path, verdict: Verdict, manifest: Manifest) -> None:
    """Write the report to `path`, whole or not at all.

    Raises:
        RequestError, BuildError: `path` cannot be written.
    """
    from jinja2 import Environment

    template = (files("vit_export.validation") / "verdict.html").read_text(encoding="utf-8")
    report = Environment(autoescape=True).from_string(template)
    html = report.render(verdict=verdict, manifest=manifest, plot=_plot_answers(verdict))
    with stage_file(path) as stage:
        stage.file.write_text(html, encoding="utf-8")
        stage.commit()


def _plot_answers(verdict: Verdict) -> str:
    """Return the error and the signal-to-noise ratio of every answer, plotted as SVG."""
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
        answers = [c for c in verdict.against_eager if c.batch == batch and c.allowed]
        shares = [max(c.max_abs / c.allowed, SMALLEST_SHARE) for c in answers]
        names = [c.subject for c in answers]
        axes.plot(names, shares, "o", alpha=0.7, label=f"batch {batch}")
    axes.axhline(1, color="tab:red", label="allowed")
    axes.set(yscale="log", ylabel="max error / allowed error", title="Against eager PyTorch")
    if len({c.subject for c in verdict.against_eager}) <= MOST_NAMES:
        axes.tick_params("x", rotation=40)
    else:
        axes.set_xticks([])
    axes.legend(fontsize=7)


def _draw_snr(axes: "Axes", verdict: Verdict) -> None:
    for name, answers in (("eager", verdict.against_eager), ("alone", verdict.against_alone)):
        finite = [c.snr_db for c in answers if math.isfinite(c.snr_db)]
        axes.hist(finite, alpha=0.6, label=name)
    axes.set(xlabel="signal-to-noise ratio (dB)", ylabel="answers", title="All answers")
    axes.legend(fontsize=7)
