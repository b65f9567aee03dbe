"""The command that looks for a fault: locate."""

from pathlib import Path

import click
from rich.console import Console

from vit_export.cli.options import ARTIFACT, JSON, PLOT, QUIET, THREADS, VERBOSE, WEIGHTS, options


@click.command()
@options(ARTIFACT, WEIGHTS, PLOT, THREADS, JSON, QUIET, VERBOSE)
def locate(
    artifact: Path,
    weights: Path | None,
    plot: Path | None,
    threads: int | None,
    *,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """The first module of ARTIFACT that differs from eager PyTorch, and the error in each."""
    from vit_export import api
    from vit_export.cli import render as report
    from vit_export.validation.localize import MismatchError

    progress = report.stages(Console(stderr=True), quiet=quiet)
    try:
        found = api.locate(artifact, weights=weights, plot=plot, threads=threads, progress=progress)
    except MismatchError as error:
        if not as_json:
            report.print_location(Console(), error.location, verbose=verbose)
        raise
    if as_json:
        click.echo(report.to_json(found.to_mapping()))
    else:
        report.print_location(Console(), found, verbose=verbose)
