"""The command that writes a C++ project around an artifact."""

from pathlib import Path
from typing import Any

import click
from rich.console import Console

from vit_export.cli.options import ARTIFACT, JSON, QUIET, WEIGHTS, options

FOLDER = click.option(
    "--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="The folder."
)
PREPROCESS = click.option(
    "--preprocess",
    type=click.Choice(["graph", "cpp"]),
    help="Where images are resized: in the file, or in C++; as ARTIFACT is made for.",
)
FORCE = click.option("--force", is_flag=True, help="Write into a folder that is not empty.")


@click.command()
@options(ARTIFACT, FOLDER, PREPROCESS, WEIGHTS, FORCE, JSON, QUIET)
def cpp(artifact: Path, *, as_json: bool, quiet: bool, **request: Any) -> None:
    """A C++ project that classifies images with ARTIFACT and tests itself against PyTorch."""
    from vit_export import api
    from vit_export.cli import render as report

    progress = report.stages(Console(stderr=True), quiet=quiet)
    made = api.cpp(artifact, progress=progress, **request)
    if as_json:
        click.echo(report.to_json(made.to_mapping()))
    else:
        report.print_generated(Console(), made)
