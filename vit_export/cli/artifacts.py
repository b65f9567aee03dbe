"""The commands that open an artifact which exists: predict and validate."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from vit_export.cli.options import (
    ARTIFACT,
    IMAGES,
    JSON,
    LABELS_CSV,
    QUIET,
    THREADS,
    VERBOSE,
    WEIGHTS,
    options,
)
from vit_export.validation.verdict import RejectedError

TOP = click.option(
    "--top",
    default=5,
    type=click.IntRange(min=1),
    metavar="N",
    show_default="5",
    help="How many classes.",
)
IMAGE_FILES = click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
REPORT = click.option(
    "--report",
    "page",
    type=click.Path(path_type=Path),
    metavar="FILE.html",
    help="The verdict as one page with its plots.",
)


@click.command()
@options(ARTIFACT, IMAGE_FILES, TOP, THREADS, JSON)
def predict(
    artifact: Path, images: tuple[Path, ...], top: int, threads: int | None, *, as_json: bool
) -> None:
    """Class names of image files, through the preprocessing that ARTIFACT carries."""
    from vit_export import api
    from vit_export.cli import render as report

    found = api.predict(artifact, images, top=top, threads=threads)
    if as_json:
        click.echo(report.to_json([asdict(one) for one in found]))
    else:
        report.print_predictions(Console(), found)


@click.command()
@options(ARTIFACT, WEIGHTS, IMAGES, LABELS_CSV, REPORT, THREADS, JSON, QUIET, VERBOSE)
def validate(
    artifact: Path,
    page: Path | None,
    *,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **request: Any,
) -> None:
    """Repeats the proof of ARTIFACT, from the answers it carries or afresh with --weights."""
    from vit_export import api
    from vit_export.cli import render as report

    progress = report.stages(Console(stderr=True), quiet=quiet)
    verdict = api.validate(artifact, report=page, progress=progress, **request)
    proven = verdict.accepted
    if not as_json:
        report.print_verdict(Console(), verdict, verbose=verbose)
    elif proven:
        click.echo(report.to_json(verdict.to_mapping()))
    if not proven:
        raise RejectedError(verdict, "export the model again; don't ship this file.")
