"""The command that measures: bench."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from vit_export.cli.options import JSON, PLOT, QUIET, THREADS, WEIGHTS, options

ARTIFACTS = click.argument("artifacts", nargs=-1, required=True, type=click.Path(path_type=Path))
BATCHES = click.option(
    "--batch", default="1", show_default=True, metavar="N,N", help="Batch sizes to run."
)
AGAINST = click.option(
    "--against",
    default="",
    metavar="PEER,PEER",
    help="The same model as others run it: eager, compile, openvino, ort-dynamic and others.",
)
ROUNDS = click.option(
    "--rounds", default=7, show_default=True, metavar="N", help="Turns of every contestant."
)


@click.command()
@options(ARTIFACTS, BATCHES, WEIGHTS, THREADS, AGAINST, ROUNDS, PLOT, JSON, QUIET)
def bench(artifacts: tuple[Path, ...], *, as_json: bool, quiet: bool, **request: Any) -> None:
    """Speed of artifacts beside their peers and this machine's limit, in one interleaved run."""
    from vit_export import api
    from vit_export.cli import render as report

    progress = report.stages(Console(stderr=True), quiet=quiet)
    found = api.bench(artifacts, progress=progress, **request)
    if as_json:
        click.echo(report.to_json(asdict(found)))
    else:
        report.print_bench(Console(), found)
